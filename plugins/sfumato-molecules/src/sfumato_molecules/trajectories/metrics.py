"""How close trajectories are: each to what happened, and all to all others."""

from __future__ import annotations

__all__ = [
    "Distances",
    "Speeds",
    "closest",
    "closest_systems",
    "displacements",
    "fidelity",
    "metrics",
    "moves",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Batch, Dataset, Fields
from sfumato_eval import Features, Score, SlicedWasserstein, Vectors, wasserstein
from sfumato_eval.score import Better

from .data import constant_velocity

MOST = 5000
"""Items whose values are kept; each has at most `OF_EACH`, evenly taken."""

OF_EACH = 256


def displacements(made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) mean distance over all points and frames, and over the points in the last frame.

    ADE and FDE of trajectories (B, N, T, D), in their unit.
    """
    gap = torch.linalg.vector_norm(made.double() - true.double(), dim=-1)
    return gap.mean((1, 2)), gap[:, :, -1].mean(1)


def closest(draws: Sequence[Tensor], true: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N) distances of each point of the closest of several draws: minADE and minFDE.

    The closest is chosen for each point, and for each measure, on its own, as is usual with
    pedestrians (Gupta et al. 2018, arXiv:1803.10892).

    Args:
        draws: trajectories (B, N, T, D).
        true: what happened, (B, N, T, D).
    """
    gaps = [torch.linalg.vector_norm(one.double() - true.double(), dim=-1) for one in draws]
    ade = torch.stack([gap.mean(2) for gap in gaps]).amin(0)
    return ade, torch.stack([gap[:, :, -1] for gap in gaps]).amin(0)


def closest_systems(draws: Sequence[Tensor], true: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) `displacements` of the closest of several draws, for each measure on its own.

    As `closest`, but all points of a system are of one draw (Han et al. 2024, arXiv:2410.13027).
    """
    both = [displacements(one, true) for one in draws]
    ade, fde = (torch.stack([pair[k] for pair in both]).amin(0) for k in range(2))
    return ade, fde


def fidelity(original: Batch, made: Batch) -> Mapping[str, Score]:
    """ADE and FDE of each trajectory against what happened.

    Where `made` holds what was given, it is continued at constant velocity.
    """
    true, x = original.x, made.x
    if isinstance(x, Fields):
        x = constant_velocity(x["past"], true.shape[2])
    ade, fde = displacements(x, true)
    return {
        "ade": Score(float(ade.mean()), len(ade), None, "mean distance over points and frames"),
        "fde": Score(float(fde.mean()), len(fde), None, "mean distance in the last frame"),
    }


def moves(batch: Batch) -> Tensor:
    """(B, 3 T - 3) what does not depend on where and how a system stands.

    Root mean squares over the points of a velocity (T - 1), a change of velocity (T - 2) and the
    distance from the first frame (T - 1), and the root mean square distance of two points (T).
    """
    x = batch.x.double()
    velocity = x.diff(dim=2)
    spread = x - x.mean(1, keepdim=True)
    parts = (velocity, velocity.diff(dim=2), x[:, :, 1:] - x[:, :, :1], spread)
    return torch.cat([part.square().sum(-1).mean(1).sqrt() for part in parts], 1)


@dataclass(frozen=True, eq=False)
class Speeds:
    """W1 between the laws of the speed of a point, in units of length for each frame."""

    name: ClassVar[str] = "speeds W1"
    better: ClassVar[Better] = "lower"

    def summary(self, batch: Batch) -> Vectors:
        """Some speeds of each item."""
        return _some(batch.x.double().diff(dim=2).norm(dim=-1).flatten(1))

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The distance."""
        return _marginal(a, b, "W1 of speeds, units of length a frame")


@dataclass(frozen=True, eq=False)
class Distances:
    """W1 between the laws of the distance of two points in a frame, in units of length."""

    name: ClassVar[str] = "distances W1"
    better: ClassVar[Better] = "lower"

    def summary(self, batch: Batch) -> Vectors:
        """Some distances of each item."""
        x = batch.x.double().transpose(1, 2)
        i, j = torch.triu_indices(x.shape[2], x.shape[2], 1)
        return _some((x[:, :, i] - x[:, :, j]).norm(dim=-1).flatten(1))

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The distance."""
        return _marginal(a, b, "W1 of the distances of points, units of length")


def _some(values: Tensor) -> Vectors:
    """At most `OF_EACH` of the values (B, m) of each item, evenly taken."""
    kept = values[:, :: -(-values.shape[1] // OF_EACH)]
    return Vectors.of(kept, kept.shape[1], MOST)


def _marginal(a: Vectors, b: Vectors, protocol: str) -> Score:
    a.check(b)
    value = float(wasserstein(a.rows.reshape(-1, 1), b.rows.reshape(-1, 1), 1))
    return Score(value, min(a.n, b.n), None, protocol)


def metrics(train: Dataset) -> Sequence[Any]:
    """Laws of speeds, of distances, and of `moves` in units of their deviation on training data."""
    from sfumato_data import alike, gather

    some = gather(alike(train), range(min(len(alike(train)), 512)))
    deviation = moves(some).std(0).clamp_min(1e-12)
    features = Features("moves", lambda batch: moves(batch) / deviation)
    pairs = [Distances()] if some.x.shape[1] > 1 else []
    return [Speeds(), *pairs, SlicedWasserstein(features)]
