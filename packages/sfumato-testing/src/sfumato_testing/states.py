"""States as the laws look at them: copies, valid values, times of every shape, comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from sfumato import Fields, Padded, Ragged
from sfumato.state import apply, expand, items, select, where

__all__ = [
    "aligned",
    "cast",
    "clone",
    "compose",
    "describe",
    "fill",
    "gap",
    "half",
    "lookup",
    "patterns",
    "repeat",
    "same",
    "stack",
    "still",
    "tensors",
    "valid",
]


def tensors(x: Any) -> list[Tensor]:
    """The tensors of values inside a state."""
    found: list[Tensor] = []

    def keep(v: Tensor) -> Tensor:
        found.append(v)
        return v

    apply(x, keep)
    return found


@singledispatch
def valid(x: Any) -> list[Tensor]:
    """The tensors of a state item after item, padding left out; a new kind of state registers."""
    return tensors(x)


@valid.register
def _(x: Padded) -> list[Tensor]:
    return [x.data[x.mask]]


@valid.register
def _(x: Fields) -> list[Tensor]:
    return [v for part in x.values() for v in valid(part)]


def cast(x: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Floating values in another precision; ids as they are."""
    return apply(x, lambda v: v.to(dtype) if v.is_floating_point() else v)


def clone(x: Any) -> Any:
    """A copy of a state or of a time that shares no values with it."""
    if isinstance(x, dict):
        return {k: clone(v) for k, v in x.items()}
    return apply(x, torch.clone)


def repeat(x: Any, times: int) -> Any:
    """All items of a state over and over: item b of copy r stands at r B + b."""
    return select(x, torch.arange(items(x)).repeat(times))


def describe(x: Any) -> Any:
    """What has to stay as it was: kind, dtype, device and layout, in a form that compares."""
    match x:
        case Ragged(data, owner, count):
            return "Ragged", count, owner.tolist(), data.shape[1:], data.dtype, data.device.type
        case Padded(data, mask):
            return "Padded", mask.tolist(), data.shape, data.dtype, data.device.type
        case Fields():
            return "Fields", {k: describe(v) for k, v in x.items()}
        case _:
            each = [(v.shape, v.dtype, v.device.type) for v in tensors(x)]
            return type(x).__name__, each


def gap(a: Any, b: Any) -> float:
    """Largest difference between valid values, relative to 1 + their size; inf for ids or NaN."""
    if describe(a) != describe(b):
        return math.inf
    worst = 0.0
    for u, v in zip(valid(a), valid(b), strict=True):
        if not u.is_floating_point():
            worst = max(worst, 0.0 if torch.equal(u, v) else math.inf)
        elif u.numel():
            u, v = u.detach().double(), v.detach().double()
            error = (u - v).abs() / (1 + v.abs())
            worst = max(worst, float(torch.where(error.isnan(), torch.inf, error).max()))
    return worst


def same(a: Any, b: Any) -> bool:
    """Whether two states agree bit for bit, layout included and padding left out."""
    return bool(
        describe(a) == describe(b)
        and all(torch.equal(u, v) for u, v in zip(valid(a), valid(b), strict=True))
    )


def patterns(x: Any, frames: bool, fields: bool) -> dict[str, Any]:
    """Every shape of time that fits a state, as positions that differ from place to place.

    Args:
        x: the state.
        frames: whether there may be a time for each frame.
        fields: whether there may be a time for each field.

    Returns:
        Long tensors (or mappings of them) by kind: "shared" (), "item" (B,), "frame" (B, F), and
        for `Fields` "fields" and "field frames", a mapping of these.
    """
    found: dict[str, Any] = {
        "shared": torch.zeros((), dtype=torch.long),
        "item": torch.arange(items(x)),
    }
    if isinstance(x, Fields):
        if fields:
            found["fields"] = {k: torch.arange(items(x)) + i + 1 for i, k in enumerate(x)}
        if fields and frames:
            found["field frames"] = {k: _framed(v, i) for i, (k, v) in enumerate(x.items())}
    elif frames:
        found["frame"] = _framed(x, 0)
    return found


def _framed(x: Any, shift: int) -> Any:
    match x:
        case Fields():
            return {k: _framed(v, shift + i) for i, (k, v) in enumerate(x.items())}
        case Ragged():
            shape = [x.items, int(x.counts.max())]
        case Padded():
            shape = list(x.mask.shape[:2])
        case _:
            shape = list(tensors(x)[0].shape[:2])
    return torch.arange(math.prod(shape)).reshape(shape) + shift


def lookup(pattern: Any, values: Sequence[float]) -> Any:
    """The times that a pattern of positions stands for: place i takes values[i mod len]."""
    if isinstance(pattern, Mapping):
        return {k: lookup(p, values) for k, p in pattern.items()}
    return torch.tensor(values, dtype=torch.float64)[pattern % len(values)]


def fill(pattern: Any, value: float) -> Any:
    """A time of the shape of a pattern with one value everywhere."""
    return lookup(pattern, [value])


def compose(pattern: Any, choices: Sequence[Any]) -> Any:
    """The state that takes each place from the choice that the pattern names there."""
    out = choices[0]
    for i, choice in enumerate(choices[1:], start=1):
        out = where(expand(out, _equals(pattern, i, len(choices))), choice, out)
    return out


def _equals(pattern: Any, value: int, count: int) -> Any:
    if isinstance(pattern, Mapping):
        return {k: _equals(p, value, count) for k, p in pattern.items()}
    return pattern % count == value


def still(t: Any, s: Any) -> Any:
    """Where time stands still, in the shape of the times."""
    return {k: still(t[k], s[k]) for k in t} if isinstance(t, Mapping) else t == s


def stack(times: Sequence[Any]) -> Any:
    """Times as a grid."""
    if isinstance(times[0], Mapping):
        return {k: stack([t[k] for t in times]) for k in times[0]}
    return torch.stack(list(times))


def aligned(mask: Any, x: Any) -> Any:
    """A mask of data for a state that has more dimensions than they, as points of a simplex do."""
    if not (isinstance(mask, Tensor) and isinstance(x, Tensor)):
        return mask
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def half(x: Any) -> Any:
    """A mask of every other number of a state."""
    return apply(x, lambda v: (torch.arange(v.numel()) % 2 == 0).reshape(v.shape))
