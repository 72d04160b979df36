"""DPM-Solver: exponential single-step solvers, planned to the exact number of calls or adaptive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Frame, InputError, expand
from sfumato.process import rows
from sfumato.random import Source
from sfumato.sampling import Denoise, Trajectory
from sfumato.state import Time, axpy, scale, where

from .adaptive import Budget, check_tolerances, item_error, per_item, step_factor
from .affine import Combination, Steps, at_start, earlier, exponential, half_logsnr, scales
from .exponential import Predict, check_order, check_predict, phi, scaled_moments

__all__ = ["DPMSolver", "DPMSolverAdaptive", "singlestep_grid", "singlestep_orders"]


def singlestep_orders(calls: int, order: int = 3) -> list[int]:
    """Orders of single steps that use exactly `calls` calls (Lu et al. 2022, appendix D.3).

    For order 3 as many steps of order 3 as leave one or two calls, and then (2, 1), (1) or (2); for
    order 2 steps of order 2, and (1) if a call is left.

    Raises:
        InputError: for fewer than 1 call, or an order other than 1, 2, 3.
    """
    if calls < 1 or order not in (1, 2, 3):
        raise InputError(f"needed are calls >= 1 and an order 1 to 3, not {calls} and {order}")
    if order < 3:
        return [order] * (calls // order) + [1] * (calls % order)
    if calls % 3 == 0:
        return [3] * (calls // 3 - 1) + [2, 1]
    return [3] * (calls // 3) + [calls % 3]


def singlestep_grid(
    process: Any, calls: int, order: int = 3, sigma_min: float = 0.002, sigma_max: float = 80.0
) -> Tensor:
    """The grid of `DPMSolver(order)` with equal single steps in log-SNR: (calls + 1,).

    A step of order k takes k steps of this grid, at equal distances within it, as in Lu et al. 2022
    (arXiv:2206.00927), algorithms 1, 4 and 5. The last of the calls leads from sigma_min to 0.

    Args:
        process: needs AFFINE.
        calls: network calls.
        order: 1, 2 or 3.
        sigma_min: noise level before the last step, as sigma/alpha.
        sigma_max: noise level that a first step leads to where there is no signal at t = 1.

    Raises:
        InputError: if the calls are used up by the first and the last step.
    """
    one = torch.ones(1, dtype=torch.float64)
    start = 0.5 * float(process.logsnr(one))
    lead = 0 if math.isfinite(start) else 1
    if calls < 2 + lead:
        raise InputError(f"a grid of single steps needs {2 + lead} calls or more, but got {calls}")
    blocks = _blocks(calls - 1 - lead, order)
    first = start if lead == 0 else -math.log(sigma_max)
    edges = torch.linspace(first, -math.log(sigma_min), len(blocks) + 1, dtype=torch.float64)
    at = [low + (edges[1] - edges[0]) * i / k for k, low in zip(blocks, edges, strict=False)
          for i in range(k)]  # fmt: skip
    t = process.time(2 * torch.stack([*at, edges[-1]]))
    return torch.cat([one, t[1 - lead :], 0 * one])


def _blocks(steps: int, order: int) -> list[int]:
    """How a run of steps is cut into single steps: of `order`, and one of what is left over."""
    left = steps % order
    return [order] * (steps // order) + [left] * (left > 0)


@dataclass(frozen=True)
class DPMSolver(Combination):
    r"""DPM-Solver-1, -2, -3: each single step spans `order` steps of the grid, one call for each.

    From the first time t of a block to its other ones, with h the way from t in log(alpha/sigma),
    r the share of it at which an earlier time u lies, and the noise (or data) predicted at t and u,

        x_s = keep x_t + data x_0(t) - sigma_s (integral) (eps_u - eps_t) / r,

    where the integral is (e^h - 1)/2 for u the second and e^h - 1 - h over h for u the third time,
    as in algorithms 4 and 5 of Lu et al. 2022 (arXiv:2206.00927); the first step is DDIM. So every
    state of the trajectory is a prediction for its own time, calls equal steps of the grid, and the
    steps that lead from or to infinite log-SNR are DDIM steps. On `singlestep_grid` the single
    steps and the number of calls are those of the paper.

    Args:
        order: 1, 2 or 3. What is left of a run of steps makes one single step of lower order.
        predict: "noise", or "data" for DPM-Solver++(2S) and (3S) (arXiv:2211.01095).
    """

    order: int = 2
    predict: Predict = "noise"

    def __post_init__(self) -> None:
        check_order(self, self.order, 3)
        check_predict(self, self.predict)

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        steps = half_logsnr(process, grid)
        place, size = _blocks_of(steps.usable, self.order)
        states = [keep, *(torch.zeros_like(keep) for _ in range(self.order - 1))]
        means = [data, *(torch.zeros_like(data) for _ in range(self.order - 1))]
        for back in range(1, self.order):
            here = steps.usable & (place == back)
            for j in range(1, back + 1):
                here = here & earlier(steps.usable, j)
            row = self._from_start(process, grid, steps, here, size == 2, back)
            for column, (newest, start) in zip((states, means), row, strict=True):
                column[0] = torch.where(here, newest, column[0])
                column[back] = torch.where(here, start, column[back])
        return rows(grid, *states, *means)

    def _from_start(
        self, process: Any, grid: Tensor, steps: Steps, here: Tensor, halved: Tensor, back: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Coefficients of the states and of the means at the last point and `back` before it.

        The step leads from the point `back` before, the first of its block, to the next.
        """
        alpha, sigma = scales(process, grid)
        first, last = earlier(steps.at[:-1], back), steps.at[:-1]
        h = torch.where(here, steps.at[1:] - first, 1.0)
        share = torch.where(here, (last - first) / h, 1.0)
        powers = scaled_moments(process, grid, h, 2, self.predict)
        c = torch.where(halved, 0.5 * powers[0], powers[1]) / share
        keep = sigma[1:] / torch.where(here, earlier(sigma[:-1], back), 1.0)
        data = alpha[1:] - keep * earlier(alpha[:-1], back)
        if self.predict == "data":
            return (torch.zeros_like(c), keep), (c, data - c)
        precision, signal = at_start(process, grid)
        begun = keep - c * earlier(precision, back), data + c * earlier(signal, back)
        return (c * precision, begun[0]), (-c * signal, begun[1])


def _blocks_of(usable: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """For each step its place in its single step, and the number of steps of that: (N, 1, ...).

    Single steps are cut from the runs of steps that are usable for any item.
    """
    place, size = [], []
    for runs, count in _runs(usable.flatten(1).any(1).tolist() if usable.ndim > 1 else usable):
        for block in _blocks(count, order) if runs else [1] * count:
            place += list(range(block))
            size += [block] * block
    shape = (-1, *(1 for _ in usable.shape[1:]))
    return (
        torch.tensor(place, device=usable.device).reshape(shape),
        torch.tensor(size, device=usable.device).reshape(shape),
    )


def _runs(flags: Iterable[Any]) -> list[tuple[bool, int]]:
    """Runs of equal flags: their value and length."""
    return [(value, len(list(run))) for value, run in groupby(map(bool, flags))]


@dataclass(frozen=True)
class DPMSolverAdaptive:
    """DPM-Solver-2 or -3 with a step of its own for each item, chosen by the error of each step.

    Of two solutions of orders p - 1 and p from the same p calls the difference E, as a root mean
    square over the numbers of an item in units of max(atol, rtol |x|), accepts the step if E <= 1;
    the next one is 0.9 E^(-1/p) times as long (Lu et al. 2022, arXiv:2206.00927, appendix C). The
    times of the grid are those that a frame is wanted at. Steps from or to infinite log-SNR are of
    first order, so give a grid such as `grids.explicit([1, 1e-3, 0])`.

    Args:
        order: 2 or 3.
        atol: absolute tolerance, in units of the state.
        rtol: relative tolerance.
        calls: most network calls; each serves all items.
        start: first step in log(alpha/sigma).

    Raises:
        InputError: where the calls do not suffice.
    """

    order: int = 3
    atol: float = 0.0078
    rtol: float = 0.05
    calls: int = 1000
    start: float = 0.05

    needs: ClassVar[Can] = Can.AFFINE
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise InputError(f"DPMSolverAdaptive: order must be 2 or 3, but is {self.order}")
        check_tolerances(self, self.atol, self.rtol, self.calls)

    def trajectory(
        self, process: Any, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """One frame for each step of the grid, with as many steps within it as it takes."""
        grid = per_item(self, grid, x)
        keep, data = exponential(process, grid)
        steps = half_logsnr(process, grid)
        budget = Budget(self, denoiser)
        length = torch.full_like(grid[0], self.start)
        for i, (t, s) in enumerate(pairwise(grid.unbind(0))):
            q = budget.call(x, t)
            after = axpy(data[i], q.mean, scale(keep[i], x))
            if bool(steps.usable[i].any()):
                y, length = self._walk(
                    process, budget, (x, q), steps.at[i], steps.at[i + 1], steps.usable[i], length
                )
                after = where(expand(x, steps.usable[i]), y, after)
            x = yield Frame(t, s, x, q, after)

    def _walk(
        self, process: Any, budget: Budget, begin: Any, at: Tensor, end: Tensor, moves: Tensor,
        length: Tensor,
    ) -> tuple[Any, Tensor]:  # fmt: skip
        """From log(alpha/sigma) `at` to `end` where `moves`: the state, and the last step."""
        x, q = begin
        end = torch.where(moves, end, at)
        for_all = torch.sign(end - at)
        while bool((at != end).any()):
            if q is None:
                q = budget.call(x, process.time(2 * at))
            left = (end - at).abs()
            h = torch.minimum(length, left)
            low, high = self._pair(process, budget, x, q, at, for_all * h)
            error = item_error(low, high, x, self.atol, self.rtol)
            accept = (error <= 1) & (left > 0)
            x = where(expand(x, accept), high, x)
            at = torch.where(accept, torch.where(h == left, end, at + for_all * h), at)
            grown = h * step_factor(error, self.order)
            kept = torch.where(h < left, grown, torch.maximum(grown, length))
            length = torch.where(left > 0, torch.where(accept, kept, grown), length)
            q = None
        return x, length

    def _pair(
        self, process: Any, budget: Budget, x: Any, q: Any, at: Tensor, h: Tensor
    ) -> tuple[Any, Any]:
        """The solutions of the lower and the higher order after a step h."""
        first = 1 / 3 if self.order == 3 else 1 / 2
        grid = process.time(2 * torch.stack([at, at + first * h, at + 2 / 3 * h, at + h]))
        alpha, sigma = process.alpha(grid), process.sigma(grid)
        eps = _noise(x, q, alpha[0], sigma[0])

        def to(
            place: int, share: float, other: Any = None, r: float = 1.0, half: bool = False
        ) -> Any:
            step = share * h
            one, two = phi(2, step)
            base = axpy(-sigma[place] * step * one, eps, scale(alpha[place] / alpha[0], x))
            if other is None:
                return base
            slope = -sigma[place] * step * (0.5 * one if half else two) / r
            return axpy(slope, other - eps, base)

        u = to(1, first)
        near = _noise(u, budget.call(u, grid[1]), alpha[1], sigma[1])
        if self.order == 2:
            return to(3, 1.0), to(3, 1.0, near, first, half=True)
        v = to(2, 2 / 3, near, 1 / 2)
        far = _noise(v, budget.call(v, grid[2]), alpha[2], sigma[2])
        return to(3, 1.0, near, first, half=True), to(3, 1.0, far, 2 / 3)


def _noise(x: Any, q: Any, alpha: Tensor, sigma: Tensor) -> Any:
    """The noise in a state whose data is expected to be `q.mean`."""
    return axpy(-alpha / sigma, q.mean, scale(1 / sigma, x))
