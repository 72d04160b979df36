"""Memorisation: are samples closer to the training items than unseen real items are?"""

from __future__ import annotations

__all__ = ["Memorisation", "Nearest", "nearest"]

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato import Batch, InputError

from .features import Features, pixels
from .score import Better, Score
from .sketch import MOST, Vectors, counted
from .sources import Source, summarise


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest training item of each item.

    Attributes:
        distance: (n,) float64, Euclidean, in the units of the features.
        index: (n,) long, the position of that item in the training set.
    """

    distance: Tensor
    index: Tensor


def nearest(queries: Tensor, training: Tensor, block: int = 2048) -> Nearest:
    """The nearest row of `training` for each query; memory is bounded by block x block.

    Args:
        queries: (n, d) vectors.
        training: (m, d) vectors, m at least 1.
        block: queries and training rows compared at a time.

    Raises:
        InputError: if there are no training rows, or d differs.
    """
    if not len(training) or queries.shape[1] != training.shape[1]:
        raise InputError(
            f"queries of shape {tuple(queries.shape)} cannot be compared with training items of "
            f"shape {tuple(training.shape)}: at least one is needed, of the same features"
        )
    found = [_nearest(q.double(), training, block) for q in torch.split(queries, block)]
    return Nearest(torch.cat([f.distance for f in found]), torch.cat([f.index for f in found]))


def _nearest(queries: Tensor, training: Tensor, block: int) -> Nearest:
    best = torch.full((len(queries),), math.inf, dtype=torch.float64)
    index = torch.zeros(len(queries), dtype=torch.long)
    for number, rows in enumerate(torch.split(training, block)):
        near = torch.cdist(queries, rows.double()).min(1)
        closer = near.values < best
        best = torch.where(closer, near.values, best)
        index = torch.where(closer, near.indices + number * block, index)
    # cdist goes through products, which leave a copy at about 1e-8; differences leave it at 0
    return Nearest((queries - training[index].double()).norm(dim=1), index)


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Share of samples closer to the training set than the p-quantile of unseen real items.

    A model that has learned the law scores about p, one that copies scores 1. The floor is the
    share of the held-out items themselves (p, up to ties). Also reported: the median distance of
    samples over that of held-out items, near 1 for a good model, 0 for copies.

    Attributes:
        training: (m, d) features of the whole training set, in its order; `of` makes them. All are
            needed, since a copy is found only beside its original.
        features: where distances are taken.
        quantile: p, in (0, 1).
        most: items kept of each side, see `Vectors`; None keeps all.
    """

    training: Tensor
    features: Features = pixels
    quantile: float = 0.05
    most: int | None = MOST
    name: ClassVar[str] = "memorisation"
    better: ClassVar[Better] = "lower"

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise InputError(f"memorisation takes a quantile in (0, 1), not {self.quantile}")

    @classmethod
    def of(cls, train: Source, features: Features = pixels, quantile: float = 0.05) -> Memorisation:
        """The metric for a model trained on `train`."""
        return cls(summarise(features.vectors, train, side="train").rows, features, quantile)

    def summary(self, batch: Batch) -> Vectors:
        """The distance of each item to its nearest training item, one number per item."""
        values = self.features(batch)
        distance = nearest(values, self.training).distance
        return Vectors.of(distance[:, None], values.shape[1], self.most)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The share of samples `a`, with that of held-out items `b` as the floor.

        Raises:
            InputError: if half of the held-out items are copies of training items.
        """
        a.check(b)
        samples, held = a.rows[:, 0], b.rows[:, 0]
        threshold = held.kthvalue(math.ceil(self.quantile * len(held))).values
        middle = float(held.median())
        if middle == 0:
            raise InputError(
                "half of the held-out items or more are copies of training items, so memorisation "
                "cannot be measured: split the data without duplicates"
            )
        value, floor = (float((side <= threshold).double().mean()) for side in (samples, held))
        protocol = (
            f"share of samples closer to the nearest of {len(self.training)} training "
            f"items than the {self.quantile:g}-quantile of held-out items, features "
            f"{self.features.name}{counted(a, b)}"
        )
        parts = {"median distance ratio": float(samples.median()) / middle}
        return Score(value, min(a.kept, b.kept), floor, protocol, self.better, parts)
