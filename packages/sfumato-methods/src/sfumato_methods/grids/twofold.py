"""A grid for few calls: most of them where structure is decided, a few where detail is drawn."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError

from .fixed import affine, at_levels

__all__ = ["twofold"]


def twofold(
    process: Any,
    steps: int,
    shift: float = 2.5,
    knee: float = 0.8,
    sigma_min: float | None = None,
    detail: int | None = None,
    sigma_max: float = 160.0,
) -> Tensor:
    """Equal steps in shifted flow time to a knee, then in log-SNR, then one to 0: (steps + 1,).

    In rho = sigma/alpha the shifted flow time is rho / (rho + shift): its steps are the shortest,
    in log-SNR, about rho = shift, where the modes of unit-variance data are decided (Esser et al.
    2024, arXiv:2403.03206, section 5.3.2, use it with shift 3). Below the knee a sample has its
    mode, and long steps suffice; they need a solver that lowers its order there, such as
    `UniPC(3, bound=5)`, with which it was chosen (on mixtures in 64 dimensions; see
    tools/bench/solvers.py for others).

    Args:
        process: needs AFFINE.
        steps: number of steps.
        shift: noise level about which the steps are shortest, as sigma/alpha.
        knee: noise level at which the second part begins.
        sigma_min: last noise level before 0; 0.3 / steps, at most 0.03, unless told.
        detail: steps from the knee to sigma_min; 0.3 steps - 1 and at least one unless told.
        sigma_max: first noise level, capped by the process; the first time is 1 all the same.
    """
    one = torch.ones((), dtype=torch.float64)
    high = min(sigma_max, math.exp(-0.5 * float(affine(process, "twofold").logsnr(one))))
    sigma_min = min(0.03, 0.3 / max(1, steps), 0.5 * knee) if sigma_min is None else sigma_min
    fine = max(1, int(0.3 * steps) - 1) if detail is None else detail
    if steps < 1 or not 0 < sigma_min < knee < high or shift <= 0 or fine < 0:
        raise InputError(
            f"twofold needs steps >= 1, 0 < sigma_min < knee < {high:g}, shift > 0 and detail >= 0"
            f", but got {steps}, {sigma_min}, {knee}, {shift} and {fine}"
        )
    fine = min(fine, max(0, steps - 2))
    share = torch.linspace(
        high / (high + shift), knee / (knee + shift), steps - fine, dtype=torch.float64
    )
    low = torch.linspace(math.log(knee), math.log(sigma_min), fine + 1, dtype=torch.float64)
    return at_levels(process, torch.cat([shift * share / (1 - share), low[1:].exp()]))
