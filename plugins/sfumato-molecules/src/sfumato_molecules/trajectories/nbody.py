"""Simulated systems of points: charges, springs and masses, in three dimensions.

The systems of Kipf et al. 2018, arXiv:1802.04687, as Satorras et al. 2021, arXiv:2102.09844, and
Han et al. 2024, arXiv:2410.13027, take them to space: places start as normals of the unit, with
velocities of length `SPEED`; nothing confines them. Forces are softened (Plummer) in place of the
cut of the original, so that energy is conserved. Integrated by the velocity Verlet scheme.
"""

from __future__ import annotations

__all__ = ["KINDS", "simulate"]

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato import InputError, random

from .data import Track

STEP, EVERY = 0.002, 50
"""Seconds of one step, and steps between two frames."""

INTERVAL = 0.1
"""Seconds between two frames."""

SPEED, SOFTENING = 0.5, 0.1
Array = NDArray[np.float64]


def _charges(u: Array) -> Array:
    return np.where(u < 0.5, -1.0, 1.0)


def _masses(u: Array) -> Array:
    return 0.5 + u


def _alike(u: Array) -> Array:
    return np.ones_like(u)


def _coulomb(places: Array, kinds: Array) -> Array:
    """Like charges repel; strength and masses are 1."""
    gap = places[:, :, None] - places[:, None]
    cube = (np.square(gap).sum(-1) + SOFTENING**2) ** 1.5
    pull = kinds[:, :, None] * kinds[:, None] / cube
    force: Array = (pull[..., None] * gap).sum(2)
    return force


def _gravity(places: Array, kinds: Array) -> Array:
    """Accelerations under a constant of 1."""
    gap = places[:, None] - places[:, :, None]
    cube = (np.square(gap).sum(-1) + SOFTENING**2) ** 1.5
    force: Array = (kinds[:, None, :, None] / cube[..., None] * gap).sum(2)
    return force


def _springs(places: Array, kinds: Array) -> Array:
    """A spring of strength 0.5 and no length between every two points."""
    force: Array = 0.5 * (places.sum(1, keepdims=True) - places.shape[1] * places)
    return force


Force = Callable[[Array, Array], Array]
KINDS: dict[str, tuple[int, str, Callable[[Array], Array], Force]] = {
    "charged": (5, "charge", _charges, _coulomb),
    "spring": (5, "constant", _alike, _springs),
    "gravity": (10, "mass", _masses, _gravity),
}
"""By name: number of points, what is known of one, its law, and the accelerations."""


def simulate(kind: str, n: int, seed: int = 0, frames: int = 30) -> list[Track]:
    """Trajectories, each a function of (kind, seed, its number).

    Args:
        kind: charged (5 points), spring (5) or gravity (10).
        n: how many.
        seed: of the starts.
        frames: of each, 0.1 seconds apart.

    Raises:
        InputError: for another kind.
    """
    if kind not in KINDS:
        raise InputError(f"there is no system {kind!r}; accepted are {', '.join(KINDS)}")
    points, _, law, force = KINDS[kind]
    starts = [_start(points, kind, seed, i) for i in range(n)]
    places, speeds, shares = (np.stack(column) for column in zip(*starts, strict=True))
    kinds = law(shares)
    found = np.empty((n, points, frames, 3), np.float32)
    pull = force(places, kinds)
    for frame in range(frames):
        found[:, :, frame] = places
        for _ in range(EVERY):
            speeds = speeds + 0.5 * STEP * pull
            places = places + STEP * speeds
            pull = force(places, kinds)
            speeds = speeds + 0.5 * STEP * pull
    return [Track(found[i], kinds[i, :, None], f"{kind} {i}") for i in range(n)]


def _start(points: int, kind: str, seed: int, number: int) -> tuple[Any, Any, Any]:
    """Places, velocities and uniform numbers, the middle at rest at 0."""
    generator = random.derive(seed, "nbody", kind, number)
    like = torch.empty(points, 3, dtype=torch.float64)
    places, speeds = (random.normal(like, generator).numpy() for _ in range(2))
    speeds = speeds * (SPEED / np.linalg.norm(speeds, axis=-1, keepdims=True))
    shares = random.uniform((points,), generator).numpy()
    return places - places.mean(0), speeds - speeds.mean(0), shares
