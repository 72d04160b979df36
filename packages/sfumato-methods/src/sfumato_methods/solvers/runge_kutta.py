r"""Runge-Kutta methods for the probability flow, in coordinates where it is smooth.

In the share of noise w = sigma/(alpha + sigma), from 0 (data) to at most 1, and y = x/(alpha +
sigma), every affine process is the straight line y = (1 - w) x_0 + w eps, so that the flow is

    dy/dw = eps - x_0 = (y - x_0) / w

with x_0 predicted (Lipman et al. 2022, arXiv:2210.02747). In rho = sigma/alpha, y = x/alpha it is

    dy/drho = eps = (y - x_0) / rho

(Zhang & Chen 2022, arXiv:2204.13902, prop. 3). The share has two finite ends; rho is infinite where
alpha is 0. At t = 0 neither velocity has a value: the step that leads there makes one call and
returns the posterior mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, Frame, InputError, expand
from sfumato.process import rows
from sfumato.random import Source
from sfumato.sampling import Denoise, Trajectory
from sfumato.state import Time, axpy, scale, where

from . import tableaux
from .adaptive import Budget, check_tolerances, item_error, per_item, step_factor
from .affine import exponential
from .tableaux import Tableau

__all__ = ["RK4", "Dopri5", "RhoRK"]

FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
"""The embedded result of order 4 of `tableaux.DOPRI5`, of seven stages."""


class Coordinate(NamedTuple):
    """A clock c and a scale in which the flow is dy/dc = (y - x_0) / c, y = x / scale.

    Attributes:
        of: (process, t) to (scale, clock); finite also where they may not be used.
        time: (process, clock) to t.
    """

    of: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    time: Callable[[Any, Tensor], Tensor]


def _noisy(process: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    """Of alpha and sigma, at t = 0 those of another time: there the derivative may be infinite."""
    clean = process.sigma(t.detach()) == 0
    safe = torch.where(clean, 0.5, t)
    return process.alpha(safe), process.sigma(safe)


def _share(process: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = _noisy(process, t)
    return alpha + sigma, sigma / (alpha + sigma)


def _share_time(process: Any, w: Tensor) -> Tensor:
    """The time with this share of noise, rounded alike whatever stands beside it in the tensor."""
    wide = (2 * (torch.log1p(-w) - w.log()))[..., None].repeat(*(1 for _ in w.shape), _LANES)
    t: Tensor = process.time(wide)[..., 0]
    return t


def _rho(process: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = _noisy(process, t)
    alpha = torch.where(alpha > 0, alpha, 1.0)
    return alpha, sigma / alpha


SHARE = Coordinate(_share, _share_time)
RHO = Coordinate(_rho, lambda process, c: process.time(-2 * c.log()))

_LANES = 16  # elementwise kernels treat full vectors and what is left of them by different code


class _Stages(NamedTuple):
    """What one step needs: the times of its stages, and (scale, 1 / clock) at each of them."""

    times: Sequence[Tensor]
    terms: Sequence[Any]
    h: Any
    end: Any


def _plan(
    process: Any, grid: Tensor, tableau: Tableau, how: Coordinate, usable: Tensor
) -> list[_Stages]:
    """The stages of each step; those of steps that are not usable stay where they begin."""
    size, clock = how.of(process, grid)
    h = torch.where(usable, clock.diff(dim=0), 0.0)
    places = [0.0, *(sum(row) for row in tableau.rows[:-1])]
    columns, times = [], []
    for place in places:
        t = grid[:-1]
        if place == 1:
            t = torch.where(usable, grid[1:], t)
        elif place > 0:
            inside = torch.where(usable, clock[:-1] + place * h, 0.5)
            t = torch.where(usable, how.time(process, inside), t)
        times.append(t.unbind(0))
        scale_, clock_ = how.of(process, t)
        columns += [scale_, 1 / clock_]
    found = []
    for i, row in enumerate(rows(grid, *columns, h, size[1:])):
        terms = [row[2 * k : 2 * k + 2] for k in range(len(places))]
        found.append(_Stages([t[i] for t in times], terms, row[-2], row[-1]))
    return found


def _stage(y: Any, velocities: Sequence[Any], weights: Sequence[float], h: Any) -> Any:
    """The value y + h sum_j w_j velocity_j."""
    for weight, velocity in zip(weights, velocities, strict=True):
        if weight:
            y = axpy(h * weight, velocity, y)
    return y


def _velocity(y: Any, q: Any, rate: Any) -> Any:
    """The derivative (y - x_0) / clock; `rate` is 1 / clock."""
    return scale(rate, y - q.mean)


@dataclass(frozen=True)
class _RungeKutta:
    """An explicit method on a fixed grid; as many calls a step as it has stages."""

    needs: ClassVar[Can] = Can.AFFINE
    deterministic: ClassVar[bool] = True

    def _method(self) -> tuple[Tableau, Coordinate]:
        """The tableau, and the coordinate that it is used in."""
        raise NotImplementedError

    def trajectory(
        self, process: Any, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Stages and result of each step; the posterior mean where the flow lands."""
        assert isinstance(grid, Tensor)
        tableau, how = self._method()
        usable = _usable(process, grid, how)
        single = rows(grid, *exponential(process, grid))
        plain = [None if full else mask for mask, full in _masks(usable)]
        plan = _plan(process, grid, tableau, how, usable)
        ends = pairwise(grid.unbind(0))
        for (t, s), stages, first, mask in zip(ends, plan, single, plain, strict=True):
            q = denoiser(x, t)
            if mask is not None:
                keep, data = first
                after = axpy(data, q.mean, scale(keep, x))
                if not bool(mask.any()):
                    x = yield Frame(t, s, x, q, after)
                    continue
            y = scale(1 / stages.terms[0][0], x)
            velocities = [_velocity(y, q, stages.terms[0][1])]
            for k, weights in enumerate(tableau.rows[:-1], start=1):
                inner = _stage(y, velocities, weights, stages.h)
                state = scale(stages.terms[k][0], inner)
                if mask is not None:  # what rests or takes a plain step is shown as it is
                    state = where(expand(x, mask), state, x)
                there = denoiser(state, stages.times[k])
                velocities.append(_velocity(inner, there, stages.terms[k][1]))
            result = scale(stages.end, _stage(y, velocities, tableau.b, stages.h))
            x = yield Frame(
                t, s, x, q, result if mask is None else where(expand(x, mask), result, after)
            )


def _usable(process: Any, grid: Tensor, how: Coordinate) -> Tensor:
    """(N, ...) steps that may be taken in the coordinate: neither end without noise, ..."""
    fixed = grid.detach()
    sound = process.sigma(fixed) > 0
    if how is RHO:
        sound = sound & (process.alpha(fixed) > 0)
    usable: Tensor = sound[1:] & sound[:-1] & (grid[1:] != grid[:-1])
    return usable


def _masks(usable: Tensor) -> list[tuple[Tensor, bool]]:
    """Of each step the mask, and whether all of it holds."""
    return [(mask, bool(mask.all())) for mask in usable.unbind(0)]


class RK4(_RungeKutta):
    """The classical method of order 4 in the share of noise; four calls a step, one to t = 0."""

    def _method(self) -> tuple[Tableau, Coordinate]:
        return tableaux.RK4, SHARE


@dataclass(frozen=True)
class RhoRK(_RungeKutta):
    """rhoRK of DEIS (Zhang & Chen 2022, arXiv:2204.13902, section 3.3): Runge-Kutta in rho.

    Steps from or to an end where alpha is 0, and to t = 0, are of first order and make one call.

    Args:
        order: 2 (Heun), 3 (Kutta) or 4 (the classical one); as many calls a step.
    """

    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (2, 3, 4):
            raise InputError(f"RhoRK: order must be 2, 3 or 4, but is {self.order}")

    def _method(self) -> tuple[Tableau, Coordinate]:
        return {2: tableaux.HEUN, 3: tableaux.KUTTA3, 4: tableaux.RK4}[self.order], RHO


@dataclass(frozen=True)
class Dopri5:
    """Dormand-Prince 5(4) in the share of noise, with a step of its own for each item.

    The difference of the results of orders 5 and 4, as a root mean square over the numbers of an
    item in units of max(atol, rtol |x|), accepts a step if it is at most 1. Six calls for each step
    that is tried; each call serves all items. The times of the grid are those that a frame is
    wanted at; the step to t = 0 makes one call and returns the posterior mean, so give a grid such
    as `grids.explicit([1, 1e-3, 0])` (Dormand & Prince 1980; Song et al. 2021, arXiv:2011.13456).

    Args:
        atol: absolute tolerance, in units of the state.
        rtol: relative tolerance.
        calls: most network calls.

    Raises:
        InputError: where the calls do not suffice.
    """

    atol: float = 1e-4
    rtol: float = 1e-4
    calls: int = 2000

    needs: ClassVar[Can] = Can.AFFINE
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_tolerances(self, self.atol, self.rtol, self.calls)

    def trajectory(
        self, process: Any, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """One frame for each step of the grid, with as many steps within it as it takes."""
        grid = per_item(self, grid, x)
        keep, data = exponential(process, grid)
        usable, share = _usable(process, grid, SHARE), _share(process, grid)[1]
        budget = Budget(self, denoiser)
        length = torch.full_like(grid[0], 0.02)
        for i, (t, s) in enumerate(pairwise(grid.unbind(0))):
            q = budget.call(x, t)
            after = axpy(data[i], q.mean, scale(keep[i], x))
            if bool(usable[i].any()):
                begin, end = share[i], torch.where(usable[i], share[i + 1], share[i])
                y, length = self._walk(process, budget, x, q, t, begin, end, length)
                after = where(expand(x, usable[i]), y, after)
            x = yield Frame(t, s, x, q, after)

    def _walk(
        self, process: Any, budget: Budget, x: Any, q: Any, t: Tensor, at: Tensor, end: Tensor,
        length: Tensor,
    ) -> tuple[Any, Tensor]:  # fmt: skip
        """From the share of noise `at` to `end`, the posterior `q` at the time t known."""
        size, _ = _share(process, t)
        y = scale(1 / size, x)
        first = _velocity(y, q, 1 / at)
        direction = torch.sign(end - at)
        while bool((at != end).any()):
            left = (end - at).abs()
            moving = expand(x, left > 0)
            h = torch.minimum(length, left)
            signed, velocities = direction * h, [first]
            for weights in tableaux.DOPRI5.rows:
                inner = _stage(y, velocities, weights, signed)
                clock = at + sum(weights) * signed
                u = torch.where(left > 0, _share_time(process, clock), t)
                size, _ = _share(process, u)
                state = scale(size, inner)
                there = budget.call(where(moving, state, x), u)
                velocities.append(_velocity(inner, there, 1 / clock))
            low = scale(size, _stage(y, velocities, FOURTH, signed))
            error = item_error(low, state, x, self.atol, self.rtol)
            accept = (error <= 1) & (left > 0)
            mask = expand(x, accept)
            x, y = where(mask, state, x), where(mask, inner, y)
            first = where(mask, velocities[-1], first)
            t = torch.where(accept, u, t)
            at = torch.where(accept, torch.where(h == left, end, at + signed), at)
            grown = h * step_factor(error, 5)
            kept = torch.where(h < left, grown, torch.maximum(grown, length))
            length = torch.where(left > 0, torch.where(accept, kept, grown), length)
        return x, length
