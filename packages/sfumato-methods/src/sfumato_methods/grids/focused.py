"""A grid for few calls: most of them where structure is decided, the rest spread over log-SNR."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError

from .fixed import affine, at_levels, counted, span

__all__ = ["focused"]

_HALVINGS = 60  # of the interval that holds a level


def focused(
    process: Any,
    steps: int,
    scale: float = 3.2,
    width: float = 0.3,
    spread: float = 0.18,
    sigma_min: float | None = None,
    sigma_max: float = 160.0,
) -> Tensor:
    """Equal steps of a sigmoid of log-SNR plus a share of log-SNR, then one to 0: (steps + 1,).

    With l = log(sigma/alpha) the steps are equal in sigmoid((l - log scale) / width) + spread l.
    They are the shortest about the level `scale`, where the modes of unit-variance data in many
    dimensions are decided; far from it they are equal in log-SNR, which favours no scale of detail.
    With width = 1 and spread = 0 these are equal steps in shifted flow time (Esser et al. 2024,
    arXiv:2403.03206, section 5.3.2), shifted by `scale`. The defaults were chosen for `Angular()`
    on mixtures in 64 dimensions, at 8 to 20 steps (tools/bench/solvers.py). In 7 steps or fewer
    those below the modes are so long that `uniform` is better for such data.

    Args:
        process: needs AFFINE.
        steps: number of steps.
        scale: noise level about which the steps are shortest, as sigma/alpha.
        width: of the range of short steps, in log(sigma/alpha).
        spread: how much of log-SNR is added; the greater, the more even the steps.
        sigma_min: last noise level before 0; 2.5 / steps^2 within 0.002 and 0.03, unless told.
        sigma_max: first noise level, capped by the process; the first time is 1 all the same.
    """
    process = affine(process, "focused")
    last = min(0.03, max(0.002, 2.5 / counted(steps) ** 2))
    low, high = span(process, last if sigma_min is None else sigma_min, sigma_max)
    if not (scale > 0 and width > 0 and spread >= 0):
        raise InputError(
            "focused needs scale > 0, width > 0 and spread >= 0, but got "
            f"scale={scale}, width={width}, spread={spread}"
        )

    def climbed(log_level: Tensor) -> Tensor:
        return ((log_level - math.log(scale)) / width).sigmoid() + spread * log_level

    below = torch.full((steps,), math.log(low), dtype=torch.float64)
    above = torch.full((steps,), math.log(high), dtype=torch.float64)
    share = torch.linspace(1, 0, steps, dtype=torch.float64)
    wants = torch.lerp(climbed(below), climbed(above), share)
    for _ in range(_HALVINGS):
        middle = 0.5 * (below + above)
        short = climbed(middle) < wants
        below, above = torch.where(short, middle, below), torch.where(short, above, middle)
    return at_levels(process, (0.5 * (below + above)).exp())
