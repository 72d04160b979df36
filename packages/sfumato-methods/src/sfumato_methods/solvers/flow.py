"""Solvers of the probability flow dx/dt = velocity, for every process that publishes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Fields, Frame, Multistep, Process, Product, expand
from sfumato.process import by_step, rows
from sfumato.random import Source
from sfumato.sampling import Denoise, Point, Trajectory, times
from sfumato.state import Time, axpy, where

from ..terms import mix
from .affine import rates

__all__ = ["Euler", "Heun", "Trapezoid"]


def _lengths(grid: Any) -> Sequence[Any]:
    """Lengths s - t of the steps: floats for a shared grid, else tensors or mappings of them."""
    if isinstance(grid, Mapping):
        return by_step({k: _lengths(v) for k, v in grid.items()})
    steps = grid.diff(dim=0)
    floats = grid.ndim == 1 and not grid.requires_grad
    lengths: Sequence[Any] = steps.tolist() if floats else list(steps)
    return lengths


def _masks(grid: Any, holds: Callable[[Tensor, Tensor], Tensor]) -> Sequence[Any]:
    """`holds(t, s)` of the steps: time-shaped masks, or mappings of them."""
    if isinstance(grid, Mapping):
        return by_step({k: _masks(v, holds) for k, v in grid.items()})
    return list(holds(grid[:-1], grid[1:]))


def _velocities(process: Process, grid: Time) -> Sequence[Any]:
    """Planned velocities; where a descending grid is 0 they are finite and must not be used.

    What lands or rests there is masked, but an infinite number behind a mask still turns gradients
    into NaN.
    """
    return process.plan_velocity(_without_zeros(grid))


def _without_zeros(grid: Any) -> Any:
    if isinstance(grid, Mapping):
        return {k: _without_zeros(v) for k, v in grid.items()}
    return grid if bool((grid.diff(dim=0) > 0).any()) else torch.where(grid > 0, grid, 1.0)


def _landings(grid: Any) -> Sequence[Any]:
    """For each step what ends at the data: None, True, or masks of what lands and what rests."""
    if isinstance(grid, Tensor) and grid.ndim == 1:
        return [True if end else None for end in (grid[1:] == 0).tolist()]
    lands = _masks(grid, lambda t, s: (s == 0) & (t > 0))
    rests = _masks(grid, torch.eq)
    return list(zip(lands, rests, strict=True))


def _move(dt: Any, end: Any, x: Any, velocity: Any, q: Any) -> Any:
    """The state x + dt velocity; the posterior mean where the flow lands, x itself where it rests.

    At t = 0 the velocity has no value, so it must not reach what lands or rests there.
    """
    if isinstance(dt, Mapping):  # field by field: then each is rounded as it is alone
        after = Fields({k: axpy(dt[k], velocity[k], x[k]) for k in x})
    else:
        after = axpy(dt, velocity, x)
    if end is None:
        return after
    lands, rests = end
    return where(expand(x, rests), x, where(expand(x, lands), _landed(q.mean, x), after))


def _landed(mean: Any, x: Any) -> Any:
    """The state with the posterior mean in it: helper variables, which follow the data, stay."""
    if not isinstance(x, Fields):
        return mean
    if isinstance(mean, Fields):
        return Fields({k: _landed(mean[k], v) for k, v in x.items()})
    return Fields({**x, next(iter(x)): mean})


def _combined(process: Any, grid: Tensor) -> Sequence[Any]:
    """(keep, data) of the steps x_s = keep x_t + data x_0 where the velocity is affine in both.

    So a step has two operations on the state, not three. keep is 0 where the flow lands.
    """
    to_data, own = rates(process, _without_zeros(grid)[:-1])
    step, lands = grid.diff(dim=0), grid[1:] == 0
    keep = torch.where(lands, 0.0, 1 + step * own)
    return rows(grid, keep, torch.where(lands, 1.0, step * to_data))


def _own(time: Time, name: str) -> Any:
    """The times of one field."""
    return time[name] if isinstance(time, Mapping) else time


@dataclass(frozen=True)
class Euler(Multistep):
    """x_s = x_t + (s - t) velocity(x_t, t); the step to t = 0 returns the posterior mean.

    For `Linear` this is the sampler of flow matching (Lipman et al. 2022, arXiv:2210.02747).
    """

    needs: ClassVar[Can] = Can.VELOCITY

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        if isinstance(process, Product):  # part by part: then each is rounded as it is alone
            return by_step({k: self.plan(process.part(k), _own(grid, k)) for k in process.parts})
        affine = Can.AFFINE | Can.GAUSSIAN in process.can
        if affine and isinstance(grid, Tensor) and grid.ndim == 1:
            return _combined(process, grid)
        velocities = _velocities(process, grid)[:-1]
        return list(zip(velocities, _lengths(grid), _landings(grid), strict=True))

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        t, x, q = past[-1]
        if isinstance(process, Product):
            parts = {k: [Point(_own(t, k), x[k], q[k])] for k in process.parts}
            return Fields(
                {
                    k: self.advance(row[k], process.part(k), point, _own(s, k), generator)
                    for k, point in parts.items()
                }
            )
        if len(row) == 2:
            keep, data = row
            return q.mean if keep == 0 else mix(keep, x, data, q.mean)
        coefficients, dt, end = row
        if end is True:
            return _landed(q.mean, x)
        return _move(dt, end, x, process.velocity(q, x, t, coefficients), q)


class Trapezoid:
    """Heun steps along a grid, planned once; one ends at t = 0 after one call, with the mean.

    Args:
        process: needs VELOCITY.
        grid: as for a sampler.
    """

    def __init__(self, process: Process, grid: Time) -> None:
        self._process, self._clocks = process, times(grid)
        self._rows = _velocities(process, grid)
        self._lengths, self._landings = _lengths(grid), _landings(grid)

    def step(self, i: int, denoiser: Denoise, x: Any) -> tuple[Any, Any]:
        """(posterior at the start, state at the end) of step i."""
        process, (t, s), rows = self._process, self._clocks[i : i + 2], self._rows
        dt, end = self._lengths[i], self._landings[i]
        q = denoiser(x, t)
        if end is True:
            return q, _landed(q.mean, x)
        here = process.velocity(q, x, t, rows[i])
        guess = _move(dt, end, x, here, q)
        there = process.velocity(denoiser(guess, s), guess, s, rows[i + 1])
        return q, _move(dt, end, x, (here + there) * 0.5, q)


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
        clocks, walk = times(grid), Trapezoid(process, grid)
        for i, (t, s) in enumerate(pairwise(clocks)):
            q, after = walk.step(i, denoiser, x)
            x = yield Frame(t, s, x, q, after)
