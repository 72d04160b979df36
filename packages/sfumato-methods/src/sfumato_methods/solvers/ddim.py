"""DDIM: the first-order solver, from deterministic to ancestral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sfumato import Can, InputError, Multistep, Process, random
from sfumato.process import rows
from sfumato.sampling import Point
from sfumato.state import Time

from ..terms import mix, plus
from .affine import exponential

__all__ = ["DDIM"]


@dataclass(frozen=True)
class DDIM(Multistep):
    """x_s = (alpha_s - k alpha_t) x_0 + k x_t + v^(1/2) eps, k^2 = (sigma_s^2 - v)/sigma_t^2.

    v = eta^2 sigma_s^2 (1 - SNR(t)/SNR(s)): eta = 0 is deterministic, eta = 1 ancestral
    (Song et al. 2020, arXiv:2010.02502, eq. 12 and 16).

    Args:
        eta: share of fresh noise in [0, 1].
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"DDIM: eta must lie in [0, 1], but is {self.eta}")

    @property
    def needs(self) -> Can:  # type: ignore[override]
        """AFFINE; noise must be Gaussian where some is added."""
        return Can.AFFINE if self.eta == 0 else Can.AFFINE | Can.GAUSSIAN

    @property
    def deterministic(self) -> bool:
        return self.eta == 0

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        if self.eta == 0:
            keep, data = exponential(process, grid)
            return rows(grid, keep, data, torch.zeros_like(keep))
        rest = grid[1:] == grid[:-1]
        logsnr = process.logsnr(grid)
        gap = torch.where(rest, 0.0, logsnr[:-1] - logsnr[1:])
        share = -self.eta * self.eta * torch.expm1(gap)
        # for eta = 1 as a power: the root has no gradient where nothing is kept
        root = (0.5 * gap).exp() if self.eta == 1 else (1 - share).sqrt()
        ratio, _ = exponential(process, grid)
        keep = ratio * root
        alpha = process.alpha(grid)
        data = torch.where(rest, 0.0, alpha[1:] - keep * alpha[:-1])
        return rows(grid, keep, data, process.sigma(grid)[1:] * share.sqrt())

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: random.Source
    ) -> Any:
        keep, data, std = row
        _, x, q = past[-1]
        x = mix(keep, x, data, q.mean)
        if self.eta == 0 or (isinstance(std, float) and std == 0):
            return x
        space = getattr(process, "space", None)
        noise = random.normal(x, generator) if space is None else space.normal(x, generator)
        return plus(std, noise, x)
