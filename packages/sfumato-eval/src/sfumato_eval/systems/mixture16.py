"""The desk bench of solvers: a mixture in 16 dimensions whose denoiser is exact.

Ten equal components about standard normal means; half of the axes have standard deviation 0.15,
half 0.45. The process is VP, with noise levels sigma/alpha down to 0.002; errors are root mean
squares against a fine solution from the same noise.
"""

from __future__ import annotations

__all__ = ["SAMPLES", "SIGMA_MIN", "Bench"]

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sfumato import random, run
from sfumato.sampling import Denoise
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.grids import Levels, logsnr
from sfumato_methods.solvers import RK4
from sfumato_testing import DiagonalMixture

SAMPLES = 1000
SIGMA_MIN = 0.002
_FINE = 300  # steps of RK4, 1,200 calls


class Bench:
    """One mixture and one batch of noise, both functions of the seed.

    Args:
        seed: all draws derive from it.
        scale: share of the samples to use, at least 50.
        noise: name of the noise; another name gives other noise under the same mixture.
    """

    def __init__(self, seed: int, scale: float = 1.0, noise: str = "noise") -> None:
        self.process = Gaussian(VP())
        self.count = max(50, round(SAMPLES * scale))
        like = torch.zeros(1, 16, dtype=torch.float64)
        means = random.normal(like.expand(10, 16), random.derive(seed, "means"))
        stds = torch.tensor([0.15] * 8 + [0.45] * 8, dtype=torch.float64)
        self.denoiser = DiagonalMixture(like, list(means), [stds] * 10).denoiser(self.process)
        self.start = random.normal(like.expand(self.count, 16), random.derive(seed, noise))
        self.calls = 0

    def _called(self, x: Any, t: Any) -> Any:
        self.calls += 1
        return self.denoiser(x, t)

    def sampled(self, sampler: Any, grid: Tensor, told: Levels | None = None) -> Tensor:
        """Where a sampler takes the noise; `told` are levels with shifts, if the grid has any."""
        x: Tensor = self.start
        self.calls = 0
        denoiser: Denoise = self._called
        if told is not None:
            denoiser = told.told(self.process, denoiser, len(grid) - 1)
        for frame in run(sampler, self.process, denoiser, x, grid, torch.Generator()):
            x = frame.after
        return x

    @functools.cached_property
    def fine(self) -> Tensor:
        """The solution of the probability flow, to some 1e-6."""
        return self.sampled(RK4(), logsnr(self.process, _FINE, SIGMA_MIN, 1e3))

    def error(self, sampler: Any, grid: Callable[..., Tensor], calls: int) -> float:
        """Root mean square to the fine solution; the calls are counted."""
        if isinstance(grid, Levels):
            x = self.sampled(sampler, grid(self.process, calls), grid)
        else:
            x = self.sampled(sampler, grid(self.process, calls, sigma_min=SIGMA_MIN))
        assert self.calls == calls, (sampler, self.calls)
        return float((x - self.fine).square().mean().sqrt())
