"""Solvers of the probability flow dx/dt = velocity, for every process that publishes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sfumato import Can, Frame, Multistep, Process, expand
from sfumato.random import Source
from sfumato.sampling import Denoise, Point, Trajectory, times
from sfumato.state import Time, axpy, where

__all__ = ["Euler", "Heun"]


def _lengths(grid: Any) -> Sequence[Any]:
    """S - t of each step: floats for a shared grid, else tensors or mappings of them."""
    if isinstance(grid, Mapping):
        columns = {k: _lengths(v) for k, v in grid.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    steps = grid.diff(dim=0)
    floats = grid.ndim == 1 and not grid.requires_grad
    lengths: Sequence[Any] = steps.tolist() if floats else list(steps)
    return lengths


def _landings(grid: Any) -> Sequence[Any]:
    """For each step what lands on the data, s = 0: None, True, or a time-shaped mask."""
    if isinstance(grid, Mapping):
        columns = {k: list(v[1:] == 0) for k, v in grid.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if grid.ndim == 1:
        return [True if end else None for end in (grid[1:] == 0).tolist()]
    return [end if bool(end.any()) else None for end in grid[1:] == 0]


def _land(end: Any, x: Any, q: Any) -> Any:
    """The posterior mean where the flow ends, since the velocity has no value at t = 0."""
    if end is None:
        return x
    return q.mean if end is True else where(expand(x, end), q.mean, x)


def _move(dt: Any, x: Any, velocity: Any) -> Any:
    """X + dt velocity."""
    return axpy(dt, velocity, x)


@dataclass(frozen=True)
class Euler(Multistep):
    """x_s = x_t + (s - t) velocity(x_t, t); the step to t = 0 returns the posterior mean.

    For `Linear` this is the sampler of flow matching (Lipman et al. 2022, arXiv:2210.02747).
    """

    needs: ClassVar[Can] = Can.VELOCITY

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        rows = process.plan_velocity(grid)[:-1]
        return list(zip(rows, _lengths(grid), _landings(grid), strict=True))

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        coefficients, dt, end = row
        t, x, q = past[-1]
        if end is True:
            return q.mean
        return _land(end, _move(dt, x, process.velocity(q, x, t, coefficients)), q)


@dataclass(frozen=True)
class Heun:
    """The trapezoidal rule on the probability flow: two network calls a step, second order.

    Karras et al. 2022, arXiv:2206.00364, algorithm 1, in the time of the process (for `EDM` that
    is sigma). The step to t = 0 makes one call and returns the posterior mean.
    """

    needs: ClassVar[Can] = Can.VELOCITY
    deterministic: ClassVar[bool] = True

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Predict with Euler, correct with the mean of both velocities."""
        clocks, rows = times(grid), process.plan_velocity(grid)
        lengths, landings = _lengths(grid), _landings(grid)
        for i, (dt, end) in enumerate(zip(lengths, landings, strict=True)):
            t, s = clocks[i], clocks[i + 1]
            q = denoiser(x, t)
            if end is True:
                x = yield Frame(t, s, x, q, q.mean)
                continue
            here = process.velocity(q, x, t, rows[i])
            guess = _land(end, _move(dt, x, here), q)
            there = process.velocity(denoiser(guess, s), guess, s, rows[i + 1])
            x = yield Frame(t, s, x, q, _land(end, _move(dt, x, (here + there) * 0.5), q))
