"""Langevin steps at each noise level: annealed, or as the corrector of another sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Ancestral, Can, Frame, InputError, Multistep, Process, random
from sfumato.process import rows
from sfumato.sampling import Denoise, Point, Trajectory, times
from sfumato.state import axpy, expand, scale, where

from .linear import absent, inner, noise

__all__ = ["AnnealedLangevin", "PredictorCorrector"]


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


@dataclass(frozen=True)
class AnnealedLangevin:
    """Langevin steps at each noise level of the grid in turn, and the posterior mean at the end.

    x <- x + e/2 score + e^(1/2) n with e = step sigma^2, `moves` times a level; then the state is
    taken for one of the next level, its data scaled by alpha_s/alpha_t (by alpha_s where nothing is
    left of it); Song & Ermon 2019, arXiv:1907.05600, algorithm 1. Nothing is exact here: the levels
    must be close, and the moves many.

    Args:
        moves: steps at each level, each one call.
        step: e/sigma^2; with normal data of no width a move forgets the share step/2.
    """

    moves: int = 10
    step: float = 0.2
    deterministic: ClassVar[bool] = False
    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN

    def __post_init__(self) -> None:
        if self.moves < 1 or not 0 < self.step < 4:
            raise InputError(
                "AnnealedLangevin takes at least one move and a step between 0 and 4, where it "
                f"begins to diverge, not moves={self.moves}, step={self.step}"
            )

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """Move at a level, then go on to the next."""
        clocks = times(grid)
        for i, (kept, pull, size, fade, lands) in enumerate(self._plan(process, grid)):
            t, s, before = clocks[i], clocks[i + 1], x
            q = denoiser(x, t)
            for move in range(self.moves):
                q = q if move == 0 else denoiser(x, t)
                x = axpy(pull, q.mean, scale(kept, x))
                x = axpy(size, noise(process, x, generator), x)
            end = x if lands is None else denoiser(x, t).mean
            x = scale(fade, x)
            x = yield Frame(
                t, s, before, q, x if lands is None else where(expand(x, lands), end, x)
            )

    def _plan(self, process: Any, grid: Any) -> list[Any]:
        """(of x, of the mean, of the noise, alpha_s/alpha_t, where a step ends at data)."""
        alpha, sigma = process.alpha(grid), process.sigma(grid)
        moves = (grid[1:] != grid[:-1]).double()
        some = alpha[:-1] > 0
        kept = 1 - 0.5 * self.step * moves
        columns = (
            kept, (1 - kept) * alpha[:-1], self.step**0.5 * sigma[:-1] * moves,
            torch.where(moves > 0, alpha[1:] / torch.where(some, alpha[:-1], 1.0), 1.0),
        )  # fmt: skip
        lands = [end if bool(end.any()) else None for end in grid[1:] == 0]
        return [(*row, end) for row, end in zip(rows(grid, *columns), lands, strict=True)]
