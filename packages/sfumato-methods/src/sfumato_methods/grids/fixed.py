"""Grids by formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato import Can, InputError, Process, Unsupported
from sfumato.process import check_time

from ..discrete.shifting import time_shift
from ..gaussian.phase import shown

__all__ = [
    "affine", "at_levels", "booted", "cosine", "counted", "explicit", "karras", "logsnr", "pyramid",
    "quadratic", "shifted", "span", "uniform",
]  # fmt: skip


def counted(steps: int) -> int:
    """The number of steps, which has to be positive; else `InputError`."""
    if steps < 1:
        raise InputError(f"a grid needs at least 1 step, but {steps} were asked for")
    return steps


def uniform(process: Process, steps: int) -> Tensor:
    """Equal steps in t: (steps + 1,)."""
    return torch.linspace(1, 0, counted(steps) + 1, dtype=torch.float64)


def quadratic(process: Process, steps: int) -> Tensor:
    """Times ((N - i) / N)^2, short steps near the data: (steps + 1,).

    Song et al. 2020, arXiv:2010.02502, section D.2.
    """
    return uniform(process, steps).square()


def booted(process: Process, steps: int, lag: float = 1e-3, rho: float = 1.5) -> Tensor:
    """One step from 1 to 1 - lag, then steps to 0 that are equal in t^(1/rho): (steps + 1,).

    A pinned process has to draw its noise on the way from the source: after a short first step the
    denoiser is asked again with that noise in view. Zheng et al. 2024, arXiv:2405.15885, take
    rho = 1; 1.5 came nearer to the data in 5 and 10 calls, on mixtures with an exact denoiser and
    on digits with a small network. One step alone goes to 0 at once.

    Raises:
        InputError: for a lag outside (0, 1), or a rho below 1.
    """
    if not (0 < lag < 1 and rho >= 1):
        raise InputError(f"booted takes 0 < lag < 1 and rho >= 1, not lag={lag} and rho={rho}")
    if counted(steps) == 1:
        return uniform(process, 1)
    rest = (1 - lag) * torch.linspace(1, 0, steps, dtype=torch.float64) ** rho
    return torch.cat([torch.ones(1, dtype=torch.float64), rest])


def cosine(process: Process, steps: int) -> Tensor:
    """Times cos(pi i / (2 N)), short steps near the prior: (steps + 1,).

    Chang et al. 2022, arXiv:2202.04200, section 3.2: few tokens are unmasked at first.
    """
    angle = torch.linspace(0, 0.5 * math.pi, counted(steps) + 1, dtype=torch.float64)
    t = angle.cos()
    t[-1] = 0.0  # cos(pi/2) is not
    return t


def shifted(process: Process, steps: int, shift: float = 1 / 3) -> Tensor:
    """Equal steps in u, with t = shift u / (1 + (shift - 1) u): (steps + 1,).

    Below 1 steps are long near the prior: many tokens are unmasked at first (Li et al. 2025,
    arXiv:2505.16839). Above 1 they are long near the data, for large pictures (Esser et al. 2024,
    arXiv:2403.03206).
    """
    return time_shift(uniform(process, steps), shift)


def affine(process: Process, grid: str) -> Any:
    """The process, or what it shows of its data, with noise levels; else `Unsupported`."""
    found = shown(process)
    if Can.AFFINE not in found.can:
        raise Unsupported(
            f"the grid {grid} needs AFFINE; {process} can {process.can.names()}. Use uniform"
        )
    return found


def span(process: Any, sigma_min: float, sigma_max: float) -> tuple[float, float]:
    """The ends of a grid in sigma/alpha, the upper one capped by what the process reaches."""
    end = math.exp(-0.5 * float(process.logsnr(torch.ones((), dtype=torch.float64))))
    high = min(sigma_max, end)
    if not 0 < sigma_min < high:
        raise InputError(
            f"sigma_min must lie between 0 and {high:g}, the largest noise level of the grid, but "
            f"is {sigma_min}"
        )
    return sigma_min, high


def at_levels(process: Any, ratio: Tensor) -> Tensor:
    """Times with these values of sigma/alpha; the first is set to 1, and a final 0 appended."""
    t = process.time(-2 * ratio.log())
    return torch.cat([t.new_ones(1), t[1:], t.new_zeros(1)])


def logsnr(
    process: Process, steps: int, sigma_min: float = 0.01, sigma_max: float = 80.0
) -> Tensor:
    """Equal steps in log-SNR from sigma_max to sigma_min, then one to 0: (steps + 1,).

    Args:
        process: needs AFFINE.
        steps: number of steps.
        sigma_min: last noise level before 0, as sigma/alpha.
        sigma_max: first noise level, as sigma/alpha; the first time is 1 all the same.
    """
    process = affine(process, "logsnr")
    low, high = span(process, sigma_min, sigma_max)
    return at_levels(process, _geometric(high, low, counted(steps)))


def _geometric(high: float, low: float, count: int) -> Tensor:
    return torch.linspace(math.log(high), math.log(low), count, dtype=torch.float64).exp()


def karras(
    process: Process,
    steps: int,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Tensor:
    """Equal steps in (sigma/alpha)^(1/rho), then one to 0: (steps + 1,).

    Karras et al. 2022, arXiv:2206.00364, eq. 5. Arguments as for `logsnr`.
    """
    process = affine(process, "karras")
    low, high = span(process, sigma_min, sigma_max)
    root = torch.linspace(high ** (1 / rho), low ** (1 / rho), counted(steps), dtype=torch.float64)
    return at_levels(process, root**rho)


def explicit(times: Sequence[float] | Tensor) -> Tensor:
    """These times, checked: within [0, 1] and descending (equal neighbours rest)."""
    grid = torch.as_tensor(times, dtype=torch.float64)
    check_time(grid)
    if grid.ndim != 1 or len(grid) < 2 or bool((grid.diff() > 0).any()):
        raise InputError("an explicit grid is a list of at least two times that never ascend")
    return grid


def pyramid(steps: int, frames: int, lag: int = 1) -> Tensor:
    """Per-frame times in which frame f starts `lag * f` steps later: (steps + lag (F-1) + 1, 1, F).

    Every frame takes `steps` equal steps from 1 to 0, waiting at 1 before and resting at 0 after
    (the pyramid of Chen et al. 2024, arXiv:2407.01392).
    """
    if frames < 1 or lag < 0:
        raise InputError(f"a pyramid needs frames >= 1 and lag >= 0, not {frames} and {lag}")
    tick = torch.arange(counted(steps) + lag * (frames - 1) + 1, dtype=torch.float64)
    delay = lag * torch.arange(frames, dtype=torch.float64)
    return (1 - (tick[:, None] - delay) / steps).clamp(0, 1)[:, None, :]
