"""Predictor-corrector sampling: Langevin steps at each noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Ancestral, Can, Frame, InputError, Multistep, Process, random
from sfumato.process import rows
from sfumato.sampling import Denoise, Point, Trajectory, times
from sfumato.state import axpy, scale

from .linear import absent, inner, noise

__all__ = ["PredictorCorrector"]


@dataclass(frozen=True)
class PredictorCorrector:
    """A step of `predictor`, then Langevin steps at the new level: 1 + corrections calls a step.

    x <- x + e score + (2 e)^(1/2) n with e = 2 (snr |n| / |score|)^2, the norms taken item by item
    in float64 (Song et al. 2021, arXiv:2011.13456, algorithms 2 to 5, there with norms averaged
    over the batch and, for VP, with e times 1 - beta). A step to t = 0 is not corrected: one call.

    Args:
        predictor: a sampler of one call a step.
        snr: r, the signal-to-noise ratio of a Langevin step.
        corrections: Langevin steps at each level.
    """

    predictor: Multistep = Ancestral()
    snr: float = 0.16
    corrections: int = 1
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.snr <= 0 or self.corrections < 1:
            raise InputError(
                "PredictorCorrector takes snr > 0 and at least one correction, not "
                f"snr={self.snr}, corrections={self.corrections}"
            )

    @property
    def needs(self) -> Can:
        """What the predictor needs, and AFFINE and GAUSSIAN."""
        return self.predictor.needs | Can.AFFINE | Can.GAUSSIAN

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """Predict, then correct."""
        past: list[Point] = []
        clocks = times(grid)
        plan = self.predictor.plan(process, grid)
        levels = self._levels(process, grid)
        for i, (row, level) in enumerate(zip(plan, levels, strict=True)):
            t, s = clocks[i], clocks[i + 1]
            q = denoiser(x, t)
            past = [*past, Point(t, x, q)][-self.predictor.memory :]
            after = self.predictor.advance(row, process, past, s, generator)
            if not absent(level[0]):
                for _ in range(self.corrections):
                    after = self._correct(level, process, denoiser(after, s), after, generator)
            x = yield Frame(t, s, x, q, after)

    def _correct(self, level: Any, process: Any, q: Any, x: Any, generator: random.Source) -> Any:
        size, pull, push = level
        n = noise(process, x, generator)
        score = axpy(pull, q.mean, scale(push, x))  # sigma times the score
        ratio = self.snr * (inner(n, n) / inner(score, score).clamp_min(1e-300)).sqrt()
        if isinstance(size, Tensor) and size.ndim > 1:  # a level for each frame
            ratio = ratio[:, None]
        step = 2 * ratio * size  # (2 e)^(1/2)
        return x + scale(step * ratio, score) + scale(step, n)

    @staticmethod
    def _levels(process: Any, grid: Any) -> list[Any]:
        """(sigma, alpha/sigma, -1/sigma) where each step ends; sigma 0 where nothing may move."""
        alpha, sigma = process.alpha(grid[1:]), process.sigma(grid[1:])
        moves = (sigma > 0) & (grid[1:] != grid[:-1])
        some = torch.where(moves, sigma, 1.0)
        size = torch.where(moves, sigma, 0.0)
        return rows(grid, size, torch.where(moves, alpha / some, 0.0), -1 / some)
