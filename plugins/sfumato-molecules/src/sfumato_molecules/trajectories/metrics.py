"""How close trajectories are: each to what happened, and all to all others."""

from __future__ import annotations

__all__ = ["displacements", "fidelity", "metrics", "moves"]

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, Dataset, Fields
from sfumato_eval import Features, Score, SlicedWasserstein

from .data import constant_velocity


def displacements(made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) mean distance over all points and frames, and over the points in the last frame.

    ADE and FDE of trajectories (B, N, T, D), in their unit.
    """
    gap = torch.linalg.vector_norm(made.double() - true.double(), dim=-1)
    return gap.mean((1, 2)), gap[:, :, -1].mean(1)


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


def metrics(train: Dataset) -> Sequence[Any]:
    """Sliced Wasserstein distance of `moves`, in units of their deviation on training data."""
    from sfumato_data import alike, gather

    some = gather(alike(train), range(min(len(alike(train)), 512)))
    deviation = moves(some).std(0).clamp_min(1e-12)
    features = Features("moves", lambda batch: moves(batch) / deviation)
    return [SlicedWasserstein(features)]
