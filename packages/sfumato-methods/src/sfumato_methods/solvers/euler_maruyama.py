"""Euler-Maruyama on the reverse SDE in the time of the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sfumato import Can, Multistep, Process, random
from sfumato.process import rows
from sfumato.sampling import Point
from sfumato.state import Time

from .affine import rates
from .linear import combine

__all__ = ["EulerMaruyama"]


@dataclass(frozen=True)
class EulerMaruyama(Multistep):
    """x_s = x_t + (s - t) (f x_t - g^2 score) + g (t - s)^(1/2) n, of weak order 1.

    f and g are those of the SDE whose marginals the process has (Song et al. 2021,
    arXiv:2011.13456, section 3.3). It is the plainest of all and needs small steps: prefer
    `Ancestral`, which is exact where D is constant. The step to t = 0 returns the posterior mean;
    a step from where no data is left, at which f is infinite, draws alpha_s D + sigma_s n.
    """

    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN | Can.VELOCITY

    @property
    def deterministic(self) -> bool:
        return False

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        alpha, sigma = process.alpha(grid), process.sigma(grid)
        rest, land, blank = grid[1:] == grid[:-1], sigma[1:] == 0, alpha[:-1] == 0
        plain = ~(rest | land | blank)
        time = torch.where(plain, grid[:-1], 0.5)
        to_data, own = rates(process, time)
        ratio = to_data / process.alpha(time)  # -g^2/(2 sigma^2)
        step = torch.where(plain, grid[1:] - grid[:-1], -1.0)
        spread = process.sigma(time) * (2 * ratio * step).sqrt()
        keep = torch.where(plain, 1 + step * (own - ratio), torch.where(rest, 1.0, 0.0))
        data = torch.where(plain, 2 * step * to_data, torch.where(rest, 0.0, alpha[1:]))
        std = torch.where(plain, spread, torch.where(rest, 0.0, sigma[1:]))
        return rows(grid, keep, torch.where(land, 0.0, std), data)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: random.Source
    ) -> Any:
        return combine(row, process, past, generator)
