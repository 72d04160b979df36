r"""Runge-Kutta methods for the probability flow, in coordinates where it is smooth.

In the angle theta = atan(sigma/alpha), from 0 (data) to at most pi/2, and y = x / (alpha^2 +
sigma^2)^(1/2), the flow is dy/dtheta = cos(theta) eps - sin(theta) x_0, and with x_0 predicted

    dy/dtheta = (cos(theta) y - x_0) / sin(theta)

(Salimans & Ho 2022, arXiv:2202.00512, appendix D). In rho = sigma/alpha and y = x/alpha it is

    dy/drho = (y - x_0) / rho

(Zhang & Chen 2022, arXiv:2204.13902, prop. 3). The angle has two finite ends, rho is infinite where
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

from .adaptive import Budget, check_tolerances, item_error, per_item, step_factor
from .affine import exponential

__all__ = ["RK4", "Dopri5", "RhoRK"]

Tableau = tuple[tuple[float, ...], ...]
"""Rows of weights of an explicit method: of the stages 2, 3, ... and, last, of the result."""

HEUN: Tableau = ((1.0,), (1 / 2, 1 / 2))
KUTTA3: Tableau = ((1 / 2,), (-1.0, 2.0), (1 / 6, 2 / 3, 1 / 6))
KUTTA4: Tableau = ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
DORMAND_PRINCE: Tableau = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
"""The embedded result of order 4 (Dormand & Prince 1980), of seven stages."""


class Coordinate(NamedTuple):
    """A clock and a scale in which the flow is dy/dclock = a y - b x_0, y = x / scale.

    Attributes:
        clock: (process, t) to the clock, finite where it may be used.
        time: (process, clock) to t.
        terms: (process, t) to (scale, a, b); finite also at t = 0, where they mean nothing.
    """

    clock: Callable[[Any, Tensor], Tensor]
    time: Callable[[Any, Tensor], Tensor]
    terms: Callable[[Any, Tensor], tuple[Tensor, Tensor, Tensor]]


def _noisy(process: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma, at t = 0 those of another time: there the derivative may be infinite."""
    clean = process.sigma(t.detach()) == 0
    safe = torch.where(clean, 0.5, t)
    return process.alpha(safe), process.sigma(safe)


def _angle(process: Any, t: Tensor) -> Tensor:
    return torch.atan2(*reversed(_noisy(process, t)))


def _angle_terms(process: Any, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    alpha, sigma = _noisy(process, t)
    size = (alpha.square() + sigma.square()).sqrt()
    return size, alpha / sigma, size / sigma


def _rho(process: Any, t: Tensor) -> Tensor:
    alpha, sigma = _noisy(process, t)
    return sigma / torch.where(alpha > 0, alpha, 1.0)


def _rho_terms(process: Any, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    alpha, sigma = _noisy(process, t)
    alpha = torch.where(alpha > 0, alpha, 1.0)
    return alpha, alpha / sigma, alpha / sigma


ANGLE = Coordinate(_angle, lambda process, c: process.time(-2 * c.tan().log()), _angle_terms)
RHO = Coordinate(_rho, lambda process, c: process.time(-2 * c.log()), _rho_terms)


class _Stages(NamedTuple):
    """What one step needs: the times of its stages, and a row (scale, a, b) for each."""

    times: Sequence[Tensor]
    terms: Sequence[Any]
    h: Any
    end: Any


def _plan(process: Any, grid: Tensor, tableau: Tableau, how: Coordinate, usable: Tensor) -> Any:
    """The stages of each step; those of steps that are not usable stay where they begin."""
    clock = how.clock(process, grid)
    h = torch.where(usable, clock.diff(dim=0), 0.0)
    places = [0.0, *(sum(row) for row in tableau[:-1])]
    columns, times = [], []
    for place in places:
        inside = torch.where(usable, clock[:-1] + place * h, 1.0)
        t = torch.where(usable & (place > 0), how.time(process, inside), grid[:-1])
        t = torch.where(usable, grid[1:], t) if place == 1 else t
        times.append(t.unbind(0))
        columns += how.terms(process, t)
    columns += [h, how.terms(process, grid[1:])[0]]
    found = []
    for i, row in enumerate(rows(grid, *columns)):
        terms = [row[3 * k : 3 * k + 3] for k in range(len(places))]
        found.append(_Stages([t[i] for t in times], terms, row[-2], row[-1]))
    return found


def _product(c: float, h: Any) -> Any:
    return h * c


def _stage(y: Any, velocities: Sequence[Any], weights: Sequence[float], h: Any) -> Any:
    for weight, velocity in zip(weights, velocities, strict=False):
        if weight:
            y = axpy(_product(weight, h), velocity, y)
    return y


def _velocity(y: Any, q: Any, terms: Any) -> Any:
    _, a, b = terms
    return axpy(_product(-1.0, b), q.mean, scale(a, y))


@dataclass(frozen=True)
class _RungeKutta:
    """An explicit method on a fixed grid; as many calls a step as it has stages."""

    needs: ClassVar[Can] = Can.AFFINE
    deterministic: ClassVar[bool] = True

    def _method(self) -> tuple[Tableau, Coordinate]:
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
            y = _divide(x, stages.terms[0][0])
            velocities = [_velocity(y, q, stages.terms[0])]
            for k, weights in enumerate(tableau[:-1], start=1):
                inner = _stage(y, velocities, weights, stages.h)
                there = denoiser(scale(stages.terms[k][0], inner), stages.times[k])
                velocities.append(_velocity(inner, there, stages.terms[k]))
            result = scale(stages.end, _stage(y, velocities, tableau[-1], stages.h))
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


def _divide(x: Any, c: Any) -> Any:
    return scale(1 / c, x)


class RK4(_RungeKutta):
    """The classical method of order 4 in the angle: four calls a step, one for the step to t = 0."""

    def _method(self) -> tuple[Tableau, Coordinate]:
        return KUTTA4, ANGLE


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
        return {2: HEUN, 3: KUTTA3, 4: KUTTA4}[self.order], RHO


@dataclass(frozen=True)
class Dopri5:
    """Dormand-Prince 5(4) in the angle, with a step of its own for each item.

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
        usable, angle = _usable(process, grid, ANGLE), _angle(process, grid)
        budget = Budget(self, denoiser)
        length = torch.full_like(grid[0], 0.02)
        for i, (t, s) in enumerate(pairwise(grid.unbind(0))):
            q = budget.call(x, t)
            after = axpy(data[i], q.mean, scale(keep[i], x))
            if bool(usable[i].any()):
                begin, end = angle[i], torch.where(usable[i], angle[i + 1], angle[i])
                y, length = self._walk(process, budget, x, q, t, begin, end, length)
                after = where(expand(x, usable[i]), y, after)
            x = yield Frame(t, s, x, q, after)

    def _walk(
        self, process: Any, budget: Budget, x: Any, q: Any, t: Tensor, at: Tensor, end: Tensor,
        length: Tensor,
    ) -> tuple[Any, Tensor]:  # fmt: skip
        """From the angle `at` to `end`, the posterior `q` at the time t of the first known."""
        terms = _angle_terms(process, t)
        y = _divide(x, terms[0])
        first = _velocity(y, q, terms)
        direction = torch.sign(end - at)
        while bool((at != end).any()):
            left = (end - at).abs()
            h = torch.minimum(length, left)
            signed, velocities = direction * h, [first]
            for weights in DORMAND_PRINCE:
                inner = _stage(y, velocities, weights, signed)
                clock = at + sum(weights) * signed
                terms = _angle_terms(process, u := ANGLE.time(process, clock))
                there = budget.call(scale(terms[0], inner), u)
                velocities.append(_velocity(inner, there, terms))
            low = _stage(y, velocities, FOURTH, signed)
            error = item_error(
                scale(terms[0], low), scale(terms[0], inner), x, self.atol, self.rtol
            )
            accept = (error <= 1) & (left > 0)
            mask = expand(y, accept)
            y, first = where(mask, inner, y), where(mask, velocities[-1], first)
            at = torch.where(accept, torch.where(h == left, end, at + signed), at)
            x = scale(_angle_terms(process, ANGLE.time(process, at))[0], y)
            grown = h * step_factor(error, 5)
            kept = torch.where(h < left, grown, torch.maximum(grown, length))
            length = torch.where(left > 0, torch.where(accept, kept, grown), length)
        return x, length
