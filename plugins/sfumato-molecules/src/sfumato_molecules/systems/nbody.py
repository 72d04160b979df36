"""Charged particles that attract and repel each other: trajectories to predict."""

from __future__ import annotations

__all__ = ["Trajectories", "energy", "simulate"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, random

SOFT = 0.2
"""Added to distances, squared: particles may pass each other."""

STEP, BETWEEN = 0.005, 20
"""Time of a step of the integrator, and steps from a frame to the next."""


def simulate(count: int, seed: int, points: int = 5, frames: int = 30) -> tuple[Tensor, Tensor]:
    """Trajectories (count, frames, points, 3) and charges +-1 (count, points), float64.

    a_i = q_i sum_j q_j (x_i - x_j) / (|x_i - x_j|^2 + SOFT^2)^(3/2), all masses 1, by velocity
    Verlet; places begin with variance 1, velocities with 1/4. As Satorras et al. 2021,
    arXiv:2102.09844, section 5.1, after Kipf et al. 2018, but softened in place of clipped.
    """
    generator = random.derive(seed, "nbody")
    shape = torch.empty(count, points, 3, dtype=torch.float64)
    x, v = random.normal(shape, generator), 0.5 * random.normal(shape, generator)
    charge = random.integers(0, 2, (count, points), generator).double() * 2 - 1
    a, found = _pull(x, charge), []
    for _ in range(frames):
        found.append(x)
        for _ in range(BETWEEN):
            v = v + 0.5 * STEP * a
            x = x + STEP * v
            a = _pull(x, charge)
            v = v + 0.5 * STEP * a
    return torch.stack(found, 1), charge


def _pull(x: Tensor, charge: Tensor) -> Tensor:
    gap = x[:, :, None] - x[:, None]
    far = (gap.square().sum(-1) + SOFT**2).pow(1.5)
    product = charge[:, :, None] * charge[:, None]
    return (gap * (product / far)[..., None]).sum(2)


def energy(x: Tensor, v: Tensor, charge: Tensor) -> Tensor:
    """(B,) of places and velocities (B, points, 3): what the motion keeps."""
    gap = x[:, :, None] - x[:, None]
    far = (gap.square().sum(-1) + SOFT**2).sqrt()
    product = charge[:, :, None] * charge[:, None]
    pairs = (product / far).flatten(1).sum(1) - (charge.square() / SOFT).sum(1)
    return 0.5 * v.square().flatten(1).sum(1) + 0.5 * pairs


@dataclass(frozen=True, eq=False)
class Trajectories:
    """What comes after the first frames, minus the last of them; conditions are these and charges.

    Attributes:
        x: (N, frames, points, 3).
        charge: (N, points).
        given: how many frames are known.
    """

    x: Tensor
    charge: Tensor
    given: int

    @property
    def about(self) -> Mapping[str, Any]:
        """Frames given, frames in all, points."""
        return {"given": self.given, "frames": self.x.shape[1], "points": self.x.shape[2]}

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.x)

    def batch(self, index: Sequence[int]) -> Batch:
        """Those at `index`, float32."""
        chosen = torch.as_tensor(list(index))
        x = self.x[chosen].float()
        past, after = x[:, : self.given], x[:, self.given :]
        return Batch(after - past[:, -1:], {"past": past, "charge": self.charge[chosen].float()})
