"""A summary that keeps one vector per item, of at most so many items."""

from __future__ import annotations

__all__ = ["MOST", "Vectors", "counted"]

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sfumato import InputError

MOST = 10_000
"""Items that the metrics which compare items with each other keep, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """One vector per item; adding merges two collections; at most `most` items are kept.

    The items kept are those of lowest priority, a fixed hash of the *number* of an item in its set
    (a bottom-k sample: uniform, without replacement). So they do not depend on batches, shards or
    workers, nor on the order of adding, provided that items are numbered through the whole set,
    which `summarise` does. The values play no part: exact duplicates are items of their own, so
    that a model which repeats itself is seen to do so, and a network that rounds differently by
    batch size does not change the choice. Numbers that occur twice (summaries of two sets, each
    numbered from 0) give a uniform sample too; ties are broken by the values.

    Attributes:
        pieces: non-empty tuple of (m_i, k) tensors; kept apart so that adding copies little.
        numbers: (m_i,) long for each piece, the number of each item in its set.
        n: items seen.
        dimensions: d, the size of the features that the vectors were made from.
        most: items kept; twice as many may wait in `pieces`. None keeps all, in order of adding.
    """

    pieces: tuple[Tensor, ...]
    numbers: tuple[Tensor, ...]
    n: int
    dimensions: int
    most: int | None

    @classmethod
    def of(cls, values: Tensor, dimensions: int, most: int | None = None) -> Vectors:
        """The vectors (n, k) of items numbered from 0.

        Raises:
            InputError: if `most` is not positive.
        """
        if most is not None and most < 1:
            raise InputError(f"the items kept must be at least 1, not most={most}")
        return cls((values,), (torch.arange(len(values)),), len(values), dimensions, most)

    def numbered(self, first: int) -> Vectors:
        """The same items, their numbers raised by `first`."""
        return replace(self, numbers=tuple(number + first for number in self.numbers))

    @property
    def kept(self) -> int:
        """Items that `rows` returns."""
        return self.n if self.most is None else min(self.n, self.most)

    @property
    def rows(self) -> Tensor:
        """(kept, k) all vectors in order of adding, or with `most` those kept, by priority."""
        if self.most is None:
            return torch.cat(self.pieces)
        return self._lowest().pieces[0]

    def __add__(self, other: Vectors) -> Vectors:
        """Both collections together.

        Raises:
            InputError: if the features have another number of dimensions, or `most` differs.
        """
        self.check(other)
        if self.most != other.most:
            raise InputError(
                f"a summary of at most {self.most} items cannot be added to one of {other.most}"
            )
        both = replace(
            self,
            pieces=self.pieces + other.pieces,
            numbers=self.numbers + other.numbers,
            n=self.n + other.n,
        )
        waiting = sum(map(len, both.pieces))
        return both if self.most is None or waiting <= 2 * self.most else both._lowest()

    def check(self, other: Vectors) -> None:
        """Raise `InputError` unless both were made from features of equal size."""
        if self.dimensions != other.dimensions:
            raise InputError(
                f"the features have {self.dimensions} dimensions on one side and "
                f"{other.dimensions} on the other; both sides need the same feature function"
            )

    def _lowest(self) -> Vectors:
        """The items of lowest priority in one piece, in that order."""
        values, numbers = torch.cat(self.pieces), torch.cat(self.numbers)
        keys = (_fingerprints(values), _priorities(numbers))
        order = torch.from_numpy(np.lexsort(keys)[: self.most].copy())
        return replace(self, pieces=(values[order],), numbers=(numbers[order],))


def _priorities(numbers: Tensor) -> npt.NDArray[np.uint64]:
    """SplitMix64, a one-to-one map of 64 bits (Steele, Lea and Flood 2014)."""
    z = numbers.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _fingerprints(values: Tensor) -> npt.NDArray[np.uint64]:
    """One number for each row, which only breaks ties between equal numbers."""
    bits = values.double().contiguous().numpy().view(np.uint64)
    weights = _priorities(torch.arange(1, bits.shape[1] + 1)) | np.uint64(1)
    found: npt.NDArray[np.uint64] = (bits * weights).sum(1, dtype=np.uint64)
    return found


def counted(a: Vectors, b: Vectors) -> str:
    """What to add to a protocol: ", 10000 of 50000 items" where not all items were kept."""
    sides = [f"{side.kept} of {side.n} items" for side in (a, b)]
    if a.kept == a.n and b.kept == b.n:
        return ""
    return f", {sides[0]}" if sides[0] == sides[1] else f", {sides[0]} against {sides[1]}"
