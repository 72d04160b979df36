"""What solvers in alpha and sigma share: the coefficients of one exponential step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["exponential", "half_logsnr_steps"]


def exponential(process: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """(keep, data): x_s = keep x_t + data x_0 with eps held; exactly (1, 0) where time rests."""
    alpha, sigma = process.alpha(grid), process.sigma(grid)
    rest = grid[1:] == grid[:-1]
    noise = torch.where(sigma[:-1] > 0, sigma[:-1], torch.where(rest, 1.0, sigma[:-1]))
    keep = torch.where(rest, 1.0, sigma[1:] / noise)
    return keep, torch.where(rest, 0.0, alpha[1:] - keep * alpha[:-1])


def half_logsnr_steps(process: Any, grid: Tensor) -> Tensor:
    """(N, ...) steps of log(alpha/sigma); 0 where time rests, infinite at the ends of the range."""
    half = 0.5 * process.logsnr(grid)
    return torch.where(grid[1:] == grid[:-1], 0.0, half[1:] - half[:-1])
