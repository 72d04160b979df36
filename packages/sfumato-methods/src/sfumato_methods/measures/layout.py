"""A state of any kind as a matrix, one row an item: what linear algebra per item works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from sfumato import Fields, Padded, Process, Product, Ragged, random
from sfumato.laws import Space
from sfumato.state import apply, item_count, items

__all__ = ["Rows", "dimensions", "subspace", "values"]


def values(x: Any) -> list[Tensor]:
    """The tensors of numbers inside a state."""
    found: list[Tensor] = []
    apply(x, found.append)
    return found


@dataclass(frozen=True)
class _Joined:
    """Subspaces of the fields of a state, None for a field that is free."""

    parts: Mapping[str, Space | None]

    def normal(self, like: Any, generator: random.Source) -> Fields:
        """Standard normal noise, field by field."""
        return Fields(
            {
                k: random.normal(like[k], generator) if s is None else s.normal(like[k], generator)
                for k, s in self.parts.items()
            }
        )

    def project(self, x: Any) -> Fields:
        """Each field projected."""
        return Fields({k: x[k] if s is None else s.project(x[k]) for k, s in self.parts.items()})

    def dims(self, x: Any) -> Tensor:
        """(B,) sum over the fields."""
        each = [item_count(x[k]) if s is None else s.dims(x[k]) for k, s in self.parts.items()]
        return torch.stack(each).sum(0)


def subspace(process: Process) -> Space | None:
    """The subspace that the states of a process lie in; None where they are free."""
    if isinstance(process, Product):
        parts = {name: subspace(process.part(name)) for name in process.parts}
        return _Joined(parts) if any(part is not None for part in parts.values()) else None
    found: Space | None = getattr(process, "space", None)
    return found


def dimensions(process: Process, x: Any) -> Tensor:
    """(B,) free numbers of each item, float64: those of the subspace where there is one."""
    space = subspace(process)
    return item_count(x) if space is None else space.dims(x)


@singledispatch
def _owners(x: Any) -> list[tuple[Tensor, Tensor]]:
    """For each tensor: which of its numbers are valid, and the item that each of those is of."""
    raise TypeError(f"{type(x).__name__} is not a state whose numbers can be laid out in rows")


@_owners.register
def _(x: Tensor) -> list[tuple[Tensor, Tensor]]:
    owner = torch.arange(len(x), device=x.device).repeat_interleave(x.shape[1:].numel())
    return [(torch.ones_like(owner, dtype=torch.bool), owner)]


@_owners.register
def _(x: Ragged) -> list[tuple[Tensor, Tensor]]:
    owner = x.owner.repeat_interleave(x.data.shape[1:].numel())
    return [(torch.ones_like(owner, dtype=torch.bool), owner)]


@_owners.register
def _(x: Padded) -> list[tuple[Tensor, Tensor]]:
    mask = x.mask.reshape(x.mask.shape + (1,) * (x.data.ndim - x.mask.ndim)).expand_as(x.data)
    return [(mask.flatten(), mask.nonzero()[:, 0])]


@_owners.register
def _(x: Fields) -> list[tuple[Tensor, Tensor]]:
    return [pair for part in x.values() for pair in _owners(part)]


class Rows:
    """The layout of a state as a matrix (B, D), D the numbers of the largest item.

    Shorter rows end in zeros. Fields stand one behind the other.

    Args:
        like: a state with the layout.

    Attributes:
        items: B.
        size: D.
    """

    def __init__(self, like: Any) -> None:
        self._like, self.items = like, items(like)
        if isinstance(like, Tensor):  # its rows are there already
            self.size = like.shape[1:].numel()
            return
        owned = _owners(like)
        filled = torch.zeros(self.items, dtype=torch.long, device=values(like)[0].device)
        self._places = []
        for valid, owner in owned:
            counts = torch.bincount(owner, minlength=self.items)
            begin = filled - (counts.cumsum(0) - counts)
            column = torch.arange(len(owner), device=owner.device) + begin[owner]
            self._places.append((valid, owner, column))
            filled = filled + counts
        self.size = int(filled.max()) if self.items else 0

    def of(self, *tensors: Tensor) -> Tensor:
        """(..., B, D) rows of the tensors of a state, each with the same leading dimensions."""
        lead = tensors[0].shape[: tensors[0].ndim - values(self._like)[0].ndim]
        if isinstance(self._like, Tensor):
            return tensors[0].reshape(*lead, self.items, self.size)
        rows = tensors[0].new_zeros(*lead, self.items, self.size)
        for tensor, (valid, owner, column) in zip(tensors, self._places, strict=True):
            rows[..., owner, column] = tensor.reshape(*lead, -1)[..., valid].to(rows)
        return rows

    def tensors(self, rows: Tensor) -> list[Tensor]:
        """The tensors (..., *shape) of the state that has these rows (..., B, D)."""
        lead, found = rows.shape[:-2], []
        if isinstance(self._like, Tensor):
            return [rows.reshape(*lead, *self._like.shape)]
        for like, (valid, owner, column) in zip(values(self._like), self._places, strict=True):
            flat = like.new_zeros(*lead, like.numel())
            flat[..., valid] = rows[..., owner, column].to(flat)
            found.append(flat.reshape(*lead, *like.shape))
        return found

    def state(self, rows: Tensor) -> Any:
        """The state that has these rows (B, D)."""
        parts = iter(self.tensors(rows))
        return apply(self._like, lambda _: next(parts))
