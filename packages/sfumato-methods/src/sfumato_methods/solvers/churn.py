"""Stochastic Heun samplers that raise the noise level inside a run: churn and restart.

Both work in v = x/alpha with the noise level l = sigma/alpha as their time, where the probability
flow is dv/dl = (v - D)/l; going up from l to l' adds normal noise of variance l'^2 - l^2. For `EDM`
v is x itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sfumato import Can, Frame, InputError, Process, random
from sfumato.process import rows
from sfumato.sampling import Denoise, Trajectory, times
from sfumato.state import axpy, scale

from .affine import exponential
from .ersde import interior
from .linear import absent, drawn, noise, source

__all__ = ["ChurnHeun", "Interval", "RestartHeun"]


class _Row(NamedTuple):
    """Up: lift x + std n. Down: keep x + data D, then weight (D' - D)."""

    lift: Any
    std: Any
    keep: Any
    data: Any
    weight: Any


def _descent(process: Any, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(keep, data, weight) of Heun steps in l; weight 0 where a step has to be of first order."""
    keep, data = exponential(process, torch.stack([high, low]))
    (inner_high, level_high), (inner_low, level_low) = (interior(process, t) for t in (high, low))
    usable = inner_high & inner_low & (high != low)
    rise = 0.5 * process.alpha(low) * (level_high / level_low - 1)
    return keep[0], data[0], torch.where(usable, rise, 0.0)


def _ascent(process: Any, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(lift, std) of the noise that leads from a time up to a later one; (1, 0) where both agree.

    Times after which no data is left are not reached from below.
    """
    moves = high > low
    alpha = process.alpha(high)
    lift = torch.where(moves, alpha / process.alpha(torch.where(moves, low, 0.0)), 1.0)
    lost = lift * process.sigma(torch.where(moves, low, 0.0))
    share = process.sigma(high).square() - lost.square()
    std = torch.where(moves, share, 1.0).clamp_min(0).sqrt()
    return lift, torch.where(moves, std, 0.0)


_Path: TypeAlias = list[tuple[Tensor, Tensor, _Row]]


def _up(row: _Row, process: Process, x: Any, generator: random.Source) -> Any:
    if absent(row.std):
        return x
    return axpy(row.std, noise(process, x, generator), scale(row.lift, x))


def _heun(row: _Row, denoiser: Denoise, x: Any, t: Any, s: Any) -> tuple[Any, Any]:
    """(posterior at the start, state at the end) of the way down."""
    q = denoiser(x, t)
    y = axpy(row.data, q.mean, scale(row.keep, x))
    if not absent(row.weight):
        y = axpy(row.weight, denoiser(y, s).mean - q.mean, y)
    return q, y


@dataclass(frozen=True)
class ChurnHeun:
    """The stochastic sampler of Karras et al. 2022 (arXiv:2206.00364, algorithm 2).

    Each step first raises the noise level from l to l (1 + gamma), gamma = min(churn/N, sqrt(2) -
    1) where l lies between `low` and `high`, then takes a Heun step in l from there: two calls, one
    where it ends at 0. N is the number of steps of the grid. The level stays within the range of
    the process.

    Args:
        churn: S_churn; 0 is algorithm 1, which draws nothing.
        low: S_min, as sigma/alpha.
        high: S_max, as sigma/alpha.
        inflation: S_noise, what the added noise is multiplied by; 1 keeps the marginal law.
    """

    churn: float = 40.0
    low: float = 0.0
    high: float = math.inf
    inflation: float = 1.0

    def __post_init__(self) -> None:
        if self.churn < 0 or self.inflation <= 0 or not 0 <= self.low <= self.high:
            raise InputError(
                "ChurnHeun takes churn >= 0, 0 <= low <= high and inflation > 0, not "
                f"churn={self.churn}, low={self.low}, high={self.high}, inflation={self.inflation}"
            )

    @property
    def needs(self) -> Can:
        """AFFINE; noise must be Gaussian where some is added."""
        return Can.AFFINE if self.deterministic else Can.AFFINE | Can.GAUSSIAN

    @property
    def deterministic(self) -> bool:
        return self.churn == 0

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """Up, then down by Heun's method."""
        starts, plan = self._plan(process, grid)
        clocks = times(grid)
        for t, s, start, row in zip(clocks, clocks[1:], starts, plan, strict=False):
            q, after = _heun(row, denoiser, _up(row, process, x, generator), start, s)
            x = yield Frame(t, s, x, q, after)

    def _plan(self, process: Any, grid: Tensor) -> tuple[Sequence[Tensor], list[_Row]]:
        start = grid[:-1]
        if not self.deterministic:
            gamma = min(self.churn / (len(grid) - 1), math.sqrt(2) - 1)
            inner, level = interior(process, start)
            chosen = inner & (level >= self.low) & (level <= self.high) & (grid[1:] != start)
            raised = process.time(-2 * (level * (1 + gamma)).log())
            raised = torch.where(process.alpha(raised) > 0, raised, start)
            start = torch.where(chosen, torch.maximum(raised, start), start)
        lift, std = _ascent(process, grid[:-1], start)
        columns = lift, self.inflation * std, *_descent(process, start, grid[1:])
        return list(start), [_Row(*row) for row in rows(grid, *columns)]


class Interval(NamedTuple):
    """Where and how often to restart.

    Attributes:
        low: noise level to restart from, as sigma/alpha.
        high: noise level to go up to.
        times: how often.
        steps: Heun steps of each way down.
    """

    low: float
    high: float
    times: int
    steps: int


@dataclass(frozen=True)
class RestartHeun:
    """Restart sampling: Heun's method that now and then goes back up and comes down again.

    When the level of the grid nearest to `low` of an interval is reached, noise takes the state up
    to `high`, and Heun steps in l, spaced as by Karras et al. (rho = 7), bring it down again, as
    often as asked: the noise contracts the errors of the way so far (Xu et al. 2023,
    arXiv:2306.14878, algorithm 1). Two calls a Heun step, one where it ends at 0.

    Args:
        intervals: where to restart; they may be nested or overlap.
    """

    intervals: tuple[Interval, ...] = (Interval(0.1, 0.6, 2, 3),)
    deterministic: ClassVar[bool] = False
    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN

    def __post_init__(self) -> None:
        for each in self.intervals:
            if not 0 < each.low < each.high or each.times < 1 or each.steps < 1:
                raise InputError(
                    "an Interval takes 0 < low < high and at least one time and step, not "
                    f"{tuple(each)}"
                )

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """A Heun step, and the restarts that belong to where it ends."""
        clocks, seeds = times(grid), drawn(generator)
        main = _walk(process, grid)
        loops = self._loops(process, grid)
        for i, row in enumerate(main):
            t, s = clocks[i], clocks[i + 1]
            q, after = _heun(row, denoiser, x, t, s)
            for number, (path, ways) in enumerate(loops.get(i, ())):
                for turn in range(ways):
                    # by place: what others draw who restart elsewhere moves nothing
                    here = source(seeds, "restart", i, number, turn)
                    after = _up(path[0][2], process, after, here)
                    for start, end, down in path:
                        _, after = _heun(down, denoiser, after, start, end)
            x = yield Frame(t, s, x, q, after)

    def _loops(self, process: Any, grid: Tensor) -> dict[int, list[tuple[_Path, int]]]:
        """By number of the step that they follow: the way up and down, and how often it is gone.

        With a time for each item those that do not restart there rest along the way.
        """
        inner, level = interior(process, grid[1:])
        moves = inner & (grid[1:] != grid[:-1])
        number = torch.arange(len(level), device=grid.device).reshape(-1, *[1] * (grid.ndim - 1))
        found: dict[int, list[tuple[_Path, int]]] = {}
        for low, high, ways, steps in self.intervals:
            away = torch.where(moves, (level.log() - math.log(low)).abs(), torch.inf)
            here = (number == away.argmin(0)) & moves & (level < high)
            for i in here.reshape(len(here), -1).any(1).nonzero().flatten().tolist():
                path = self._path(process, grid[i + 1], here[i], level[i], high, steps)
                found.setdefault(i, []).append((path, ways))
        return found

    @staticmethod
    def _path(
        process: Any, end: Tensor, here: Tensor, level: Tensor, high: float, steps: int
    ) -> _Path:
        """The way up from `end` and down again, for the items that are `here`."""
        share = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device=end.device)
        root = high ** (1 / 7) + share.reshape(-1, *[1] * end.ndim) * (
            level ** (1 / 7) - high ** (1 / 7)
        )
        path = torch.where(here, torch.maximum(process.time(-14 * root.log()), end), end)
        path = torch.cat([path[:-1], end[None]])
        lift, std = _ascent(process, end, path[0])
        still = torch.ones_like(path[2:])
        lifts, stds = torch.cat([lift[None], still]), torch.cat([std[None], 0 * still])
        plan = rows(path, lifts, stds, *_descent(process, path[:-1], path[1:]))
        return [
            (start, stop, _Row(*row))
            for start, stop, row in zip(path, path[1:], plan, strict=False)
        ]


def _walk(process: Any, grid: Tensor) -> list[_Row]:
    """Heun steps along a grid, without going up."""
    zero = torch.zeros_like(grid[1:])
    columns = torch.ones_like(zero), zero, *_descent(process, grid[:-1], grid[1:])
    return [_Row(*row) for row in rows(grid, *columns)]
