"""Data sets in memory, parts of data sets, and the split that training and evaluation share."""

from __future__ import annotations

__all__ = ["Subset", "Tensors", "split", "subset"]

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sfumato import Batch, Dataset, InputError, Maybe
from sfumato.state import items

from .collate import select


@dataclass(frozen=True, eq=False)
class Tensors:
    """A data set that is in memory as one batch.

    Attributes:
        x: state of N items, on the CPU.
        condition: named conditions of N items each.
        about: JSON-able facts that a model is built from.

    Raises:
        InputError: if a condition has another number of items than `x`.
    """

    x: Any
    condition: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.condition.items():
            count = items(value.value if isinstance(value, Maybe) else value)
            if count != len(self):
                raise InputError(
                    f"condition {name!r} has {count} items, but the data has {len(self)}"
                )

    def __len__(self) -> int:
        """Number of items."""
        return items(self.x)

    def batch(self, index: Sequence[int]) -> Batch:
        """The items at `index`, in that order."""
        return select(Batch(self.x, self.condition), torch.as_tensor(index, dtype=torch.long))


@dataclass(frozen=True, eq=False)
class Subset:
    """Some items of a data set.

    Attributes:
        source: the data set.
        index: which of its items, in the order they have here.
    """

    source: Dataset
    index: Sequence[int]

    @property
    def about(self) -> Mapping[str, Any]:
        """The facts of the source."""
        return self.source.about

    def __len__(self) -> int:
        """Number of items."""
        return len(self.index)

    def batch(self, index: Sequence[int]) -> Batch:
        """The items at `index` of this subset."""
        return self.source.batch([self.index[i] for i in index])


def subset(dataset: Dataset, index: Sequence[int]) -> Subset:
    """The items of a data set at `index`, in that order.

    Raises:
        InputError: if an index lies outside the data set.
    """
    size = len(dataset)
    wrong = [i for i in index if not 0 <= i < size]
    if wrong:
        raise InputError(f"there is no item {wrong[0]}: the data set has items 0 to {size - 1}")
    return Subset(dataset, tuple(index))


def split(dataset: Dataset, held: float, seed: int) -> tuple[Subset, Subset]:
    """(train, held): each item is held out with probability `held`, by a hash of (seed, item).

    Which side an item is on does not depend on the other items, so that data which grows at its
    end never moves an old item to the other side. With two items or more and 0 < held < 1 neither
    side is empty.

    Args:
        dataset: what to split.
        held: expected share of the second part, in [0, 1).
        seed: another seed gives another split.

    Raises:
        InputError: if `held` lies outside [0, 1) or the data set is empty.
    """
    size = len(dataset)
    if not 0 <= held < 1:
        raise InputError(f"the held-out share must lie in [0, 1), but is {held}")
    if size == 0:
        raise InputError("the data set is empty; there is nothing to split")
    # 8 bytes for each item of an extendable digest: uniform, and equal on every machine
    digest = hashlib.shake_128(repr((seed, "split")).encode()).digest(8 * size)
    place = np.frombuffer(digest, dtype="<u8") / 2.0**64
    out = place < held
    if 0 < held and size > 1:
        out[place.argmin()], out[place.argmax()] = True, False
    return (
        Subset(dataset, np.flatnonzero(~out).tolist()),
        Subset(dataset, np.flatnonzero(out).tolist()),
    )
