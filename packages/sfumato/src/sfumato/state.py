"""States: what a process noises, and how a time is aligned with them.

A state is a tensor whose first dimension is the batch, or one of three containers for data of
other shapes. `apply`, `expand`, `items`, `item_sum`, `item_count` and `select` are
`functools.singledispatch` functions: whoever registers a new kind of state with them (and with
`sfumato.random.draw`) can use it with every process and sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .errors import InputError

__all__ = [
    "Fields", "Padded", "Ragged", "State", "Time", "apply", "axpy", "expand", "item_count",
    "item_sum", "items", "leaf", "scale", "select", "to", "where",
]  # fmt: skip


class _Vector:
    """Arithmetic of a container: entry by entry, with its like or with what broadcasts."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return apply(self, torch.add, other)

    def __sub__(self, other: Any) -> Any:
        return apply(self, torch.sub, other)

    def __mul__(self, other: Any) -> Any:
        return apply(self, torch.mul, other)

    def __truediv__(self, other: Any) -> Any:
        return apply(self, torch.div, other)

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __neg__(self) -> Any:
        return apply(self, torch.neg)


@dataclass(frozen=True, slots=True, eq=False)
class Ragged(_Vector):
    """Rows of items of different size, laid end to end.

    Attributes:
        data: (N, ...) rows of all items.
        owner: (N,) long, not decreasing: the item that row i belongs to.
        items: number of items B; items without rows are allowed.
    """

    data: Tensor
    owner: Tensor
    items: int

    @property
    def counts(self) -> Tensor:
        """(B,) rows per item."""
        return torch.bincount(self.owner, minlength=self.items)

    @property
    def position(self) -> Tensor:
        """(N,) place of each row inside its item, from 0."""
        counts = self.counts
        start = counts.cumsum(0) - counts
        return torch.arange(len(self.owner), device=self.owner.device) - start[self.owner]


@dataclass(frozen=True, slots=True, eq=False)
class Padded(_Vector):
    """Items of different size in one rectangular tensor.

    Attributes:
        data: (B, L, ...) values; what stands at padded places never reaches a result.
        mask: bool, its shape leads that of `data` ((B, L), or (B, L, L) for pairs): what is real.
    """

    data: Tensor
    mask: Tensor


class Fields(_Vector, Mapping[str, Any]):
    """Named states that add and scale like one vector."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        self._parts = {**(parts or {}), **named}

    def __getitem__(self, name: str) -> Any:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Fields({', '.join(f'{k}={v!r}' for k, v in self._parts.items())})"


State: TypeAlias = Tensor | Ragged | Padded | Fields
Time: TypeAlias = Tensor | Mapping[str, Any]  # one clock, or one for each field
_ZERO = torch.zeros(())


def leaf(x: Any) -> Any:
    """The tensor inside a `Ragged` or `Padded`; anything else as it is."""
    return x.data if isinstance(x, Ragged | Padded) else x


@singledispatch
def apply(x: Any, f: Callable[..., Any], *others: Any) -> Any:
    """`f` on each tensor of `x` and what stands at its place in `others` (or what broadcasts)."""
    raise TypeError(
        f"{type(x).__name__} is not a state; use a Tensor, Ragged, Padded or Fields, or register "
        "the type with the functions of sfumato.state"
    )


@apply.register
def _(x: Tensor, f: Callable[..., Any], *others: Any) -> Any:
    return f(x, *others)


@apply.register
def _(x: Ragged | Padded, f: Callable[..., Any], *others: Any) -> Any:
    return replace(x, data=f(x.data, *map(leaf, others)))


@apply.register
def _(x: Fields, f: Callable[..., Any], *others: Any) -> Fields:
    return Fields({k: apply(v, f, *(_part(o, k) for o in others)) for k, v in x.items()})


def _part(value: Any, name: str) -> Any:
    """The entry of a mapping, or the value itself where it is shared by all fields."""
    if not isinstance(value, Mapping):
        return value
    if name not in value:
        raise InputError(f"field {name!r} is missing; given are {', '.join(value) or 'none'}")
    return value[name]


def _fit(t: Tensor, x: Tensor) -> Tensor:
    """`t` with trailing dimensions of one, its leading ones checked against those of `x`."""
    if t.ndim > x.ndim or any(a not in (1, b) for a, b in zip(t.shape, x.shape, strict=False)):
        raise InputError(
            f"a time of shape {tuple(t.shape)} does not fit a state of shape {tuple(x.shape)}: "
            "accepted are () for all, (B,) per item and (B, F) per frame"
        )
    if t.is_floating_point() and x.is_floating_point():
        t = t.to(x)
    elif t.device != x.device:
        t = t.to(x.device)
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


@singledispatch
def expand(x: Any, t: Time) -> Any:
    """A time, or a coefficient made from one, shaped so that it multiplies the state `x`.

    Args:
        x: the state to align with.
        t: () shared, (B,) per item, (B, F) per frame (for `Ragged`: row f of item b), or a mapping
            with one of these for each field. Floats take the dtype of a floating state.

    Raises:
        InputError: if the leading dimensions disagree.
    """
    raise TypeError(f"{type(x).__name__} is not a state that a time can be aligned with")


@expand.register
def _(x: Tensor, t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("a mapping of times needs a state of Fields; this state is one Tensor")
    return _fit(t, x)


@expand.register
def _(x: Ragged, t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("a mapping of times needs a state of Fields; this state is Ragged")
    if t.ndim == 0:
        return _fit(t, x.data)
    longest = int(x.counts.max()) if t.ndim == 2 else 0
    if t.ndim > 2 or t.shape[0] not in (1, x.items) or (t.ndim == 2 and t.shape[1] < longest):
        raise InputError(
            f"a time of shape {tuple(t.shape)} does not fit {x.items} ragged items of at most "
            f"{longest} rows: accepted are (), (B,) and (B, F) with F at least the longest item"
        )
    t = t.to(x.data.device)
    owner = x.owner if t.shape[0] == x.items else torch.zeros_like(x.owner)
    return _fit(t[owner] if t.ndim == 1 else t[owner, x.position], x.data)


@expand.register
def _(x: Padded, t: Time) -> Any:
    return expand(x.data, t)


@expand.register
def _(x: Fields, t: Time) -> Fields:
    return Fields({k: expand(v, _part(t, k)) for k, v in x.items()})


def scale(c: Any, x: Any) -> Any:
    """`c * x` for a planned coefficient: a float, a time-shaped tensor, or one for each field."""
    if isinstance(c, float):  # as a factor of a sum it is not made a tensor, in half the time
        wide = isinstance(x, Tensor) and x.ndim > 0 and x.dtype in (torch.float32, torch.float64)
        return torch.add(_ZERO, x, alpha=c) if wide else x * c
    if isinstance(c, Mapping):
        return Fields({k: scale(_part(c, k), v) for k, v in x.items()})
    return x * expand(x, c)


def axpy(c: Any, x: Any, y: Any) -> Any:
    """`c * x + y` for a planned coefficient; one fused operation for a float and tensors."""
    if isinstance(c, float) and isinstance(x, Tensor):
        return torch.add(y, x, alpha=c)
    return y + scale(c, x)


def where(mask: Any, a: Any, b: Any) -> Any:
    """`a` where `mask` holds, else `b`; the mask is a state of bool or comes from `expand`."""
    return apply(a, lambda u, m, v: torch.where(m, u, v), mask, b)


def to(x: Any, *args: Any, **kwargs: Any) -> Any:
    """`Tensor.to` on every tensor of a state, layout tensors included."""
    match x:
        case Ragged(data, owner, count):
            device = data.to(*args, **kwargs).device
            return Ragged(data.to(*args, **kwargs), owner.to(device), count)
        case Padded(data, mask):
            moved = data.to(*args, **kwargs)
            return Padded(moved, mask.to(moved.device))
        case Fields():
            return Fields({k: to(v, *args, **kwargs) for k, v in x.items()})
        case _:
            return apply(x, lambda v: v.to(*args, **kwargs))


@singledispatch
def items(x: Any) -> int:
    """Number of items B in a state."""
    return len(x)


@items.register
def _(x: Ragged) -> int:
    return x.items


@items.register
def _(x: Padded) -> int:
    return len(x.data)


@items.register
def _(x: Fields) -> int:
    sizes = {items(v) for v in x.values()}
    if len(sizes) != 1:
        raise InputError(f"the fields {', '.join(x)} disagree on the number of items: {sizes}")
    return sizes.pop()


@singledispatch
def item_sum(x: Any) -> Tensor:
    """(B,) sum over all valid elements of each item."""
    raise TypeError(f"{type(x).__name__} is not a state")


@item_sum.register
def _(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1) if x.ndim > 1 else x


@item_sum.register
def _(x: Ragged) -> Tensor:
    rows = x.data.flatten(1).sum(1) if x.data.ndim > 1 else x.data
    return rows.new_zeros(x.items).index_add(0, x.owner, rows)


@item_sum.register
def _(x: Padded) -> Tensor:
    return torch.where(_fit(x.mask, x.data), x.data, x.data.new_zeros(())).flatten(1).sum(1)


@item_sum.register
def _(x: Fields) -> Tensor:
    return torch.stack([item_sum(v) for v in x.values()]).sum(0)


def item_count(x: Any) -> Tensor:
    """(B,) number of valid elements of each item, float64."""
    if isinstance(x, Tensor):
        return torch.full((len(x),), x.shape[1:].numel(), dtype=torch.float64, device=x.device)
    return item_sum(apply(x, lambda v: torch.ones_like(v, dtype=torch.float64)))


@singledispatch
def select(x: Any, index: Tensor) -> Any:
    """The items at `index` (long, any order, repeats allowed), in that order."""
    return apply(x, lambda v: v[index])


@select.register
def _(x: Ragged, index: Tensor) -> Ragged:
    counts = x.counts
    taken = counts[index]
    shift = (counts.cumsum(0) - counts)[index] - (taken.cumsum(0) - taken)
    owner = torch.repeat_interleave(taken)
    rows = torch.arange(len(owner), device=owner.device) + shift[owner]
    return Ragged(x.data[rows], owner.to(x.owner), len(index))


@select.register
def _(x: Padded, index: Tensor) -> Padded:
    return Padded(x.data[index], x.mask[index])


@select.register
def _(x: Fields, index: Tensor) -> Fields:
    return Fields({k: select(v, index) for k, v in x.items()})
