"""Langevin steps at each noise level: annealed, as corrector of another sampler, or with it."""

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

__all__ = ["S4", "AnnealedLangevin", "PredictorCorrector"]


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
        levels = _levels(process, grid[1:], grid[:-1])
        for i, (row, level) in enumerate(zip(plan, levels, strict=True)):
            t, s = clocks[i], clocks[i + 1]
            q = denoiser(x, t)
            past = [*past, Point(t, x, q)][-self.predictor.memory :]
            after = self.predictor.advance(row, process, past, s, generator)
            if not absent(level[0]):
                for _ in range(self.corrections):
                    q_after = denoiser(after, s)
                    after = _corrected(level, self.snr, process, q_after, after, generator)
            x = yield Frame(t, s, x, q, after)


@dataclass(frozen=True)
class S4(Multistep):
    """A Langevin step at each level and the step to the next, with the one call that both share.

    The symmetric splitting of Jo et al. 2022 (GDSS, arXiv:2202.02514, section 3.3 and algorithm 1):
    the score at (x_t, t) first moves the state as the corrector of `PredictorCorrector` does, then
    takes it to s. There the score is held, so that a step from where noise is all diverges; here it
    is the posterior mean, under which the linear half steps and the drift between them are one
    Gaussian law, that of DDPM. The two agree to first order in the step.

    Args:
        snr: r, the signal-to-noise ratio of a Langevin step.
    """

    snr: float = 0.16
    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN

    def __post_init__(self) -> None:
        if self.snr <= 0:
            raise InputError(f"S4 takes snr > 0, not snr={self.snr}")

    @property
    def deterministic(self) -> bool:
        return False

    def plan(self, process: Process, grid: Any) -> list[Any]:
        """(size, pull, push) of the Langevin step, then (of x, of the mean, of the noise)."""
        affine: Any = process
        alpha, sigma = affine.alpha(grid), affine.sigma(grid)
        rests = grid[1:] == grid[:-1]
        fall = sigma[1:] / torch.where(sigma > 0, sigma, 1.0)[:-1]
        rise = alpha[:-1] / torch.where(alpha > 0, alpha, 1.0)[1:]
        ratio = torch.where(rests, 1.0, fall * rise)
        new = torch.where(rests, 0.0, 1 - (fall * rise).square())
        some = torch.where(new > 0, new, 1.0)
        columns = (
            torch.where(rests, 1.0, fall * ratio), alpha[1:] * new,
            torch.where(new > 0, sigma[1:] * some.sqrt(), 0.0),
        )  # fmt: skip
        levels = _levels(process, grid[:-1], grid[1:])
        return [(*level, *row) for level, row in zip(levels, rows(grid, *columns), strict=True)]

    def advance(
        self, row: Any, process: Process, past: Any, s: Any, generator: random.Source
    ) -> Any:
        *level, keep, gain, std = row
        _, x, q = past[-1]
        if not absent(level[0]):
            x = _corrected(level, self.snr, process, q, x, generator)
        x = axpy(gain, q.mean, scale(keep, x))
        return x if absent(std) else axpy(std, noise(process, x, generator), x)


def _corrected(
    level: Any, snr: float, process: Any, q: Any, x: Any, generator: random.Source
) -> Any:
    """A state after a Langevin step at a level, along the score of a posterior there."""
    size, pull, push = level
    n = noise(process, x, generator)
    score = axpy(pull, q.mean, scale(push, x))  # sigma times the score
    ratio = snr * (inner(n, n) / inner(score, score).clamp_min(1e-300)).sqrt()
    if isinstance(size, Tensor) and size.ndim > 1:  # a level for each frame
        ratio = ratio[:, None]
    step = 2 * ratio * size  # (2 e)^(1/2)
    return x + scale(step * ratio, score) + scale(step, n)


def _levels(process: Any, grid: Any, before: Any) -> list[Any]:
    """(sigma, alpha/sigma, -1/sigma) at the times of a grid; sigma 0 where nothing may move."""
    alpha, sigma = process.alpha(grid), process.sigma(grid)
    moves = (sigma > 0) & (grid != before)
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
