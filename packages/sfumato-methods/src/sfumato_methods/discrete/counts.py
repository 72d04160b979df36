"""Numbers of events: Poisson draws that go through `sfumato.random`."""

from __future__ import annotations

__all__ = ["poisson"]

from typing import Any

import torch
from torch import Tensor

from sfumato import random
from sfumato.random import Source
from sfumato.state import apply


def poisson(mean: Any, generator: Source) -> Any:
    """A Poisson draw for each element of a state of means, long.

    Exact, one uniform number each: the least k with u < P(n <= k) = Q(k + 1, mean). The search
    begins at the expansion of Cornish & Fisher 1938, which is off by one or two.
    """
    drawn = random.draw(mean, random.uniform, generator)
    return apply(mean, _inverted, drawn)


def _inverted(mean: Tensor, u: Tensor) -> Tensor:
    mean = mean.double()
    z = torch.special.ndtri(u.clamp_min(1e-300))
    k: Tensor = (mean + mean.sqrt() * z + (z.square() - 1) / 6).floor().clamp_min(0)
    while bool((high := (k > 0) & (u < _below(k, mean))).any()):
        k = k - high.double()
    while bool((low := u >= _below(k + 1, mean)).any()):
        k = k + low.double()
    return k.long()


def _below(k: Tensor, mean: Tensor) -> Tensor:
    """P(n < k) for k >= 1, and 0 for k = 0."""
    below: Tensor = torch.special.gammaincc(k.clamp_min(1), mean).where(k > 0, 0.0)
    return below
