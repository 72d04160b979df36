r"""Likelihood by the probability flow.

Along dx/dt = v(x, t) densities change by d log p_t(x_t) / dt = -div v(x_t, t), hence

    log p_0(x_0) = log p_1(x_1) + int_0^1 div v(x_t, t) dt

(Song et al. 2021, arXiv:2011.13456, section 4.3 and appendix D.2; Chen et al. 2018,
arXiv:1806.07366). State and integral are solved together by one Runge-Kutta method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, InputError, Process, Unsupported
from sfumato.process import check_time
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import axpy

from ..solvers import tableaux
from ..solvers.tableaux import Tableau
from .layout import subspace, values
from .traces import Exact, Trace, divergence, standard_error

__all__ = ["Likelihood", "log_likelihood"]


class Likelihood(NamedTuple):
    """What the flow says of each item.

    Attributes:
        value: (B,) log density in nats, float64.
        error: (B,) standard error of `value` over the probes of the trace; 0 for `Exact`, NaN where
            one probe cannot tell.
        end: the state that the flow reaches at t = 1.
    """

    value: Tensor
    error: Tensor
    end: Any


def log_likelihood(
    process: Process,
    denoiser: Denoise,
    x0: Any,
    grid: Tensor,
    *,
    trace: Trace | None = None,
    generator: Source | None = None,
    tableau: Tableau = tableaux.RK4,
) -> Likelihood:
    """Log density of data under the flow of a model, from small noise to the prior.

    What is returned is the density at x_0 of the law at time grid[0], of data with that little
    noise; at t = 0 itself the velocity has no value. For a trained network a grid that begins at
    1e-3 to 1e-5 is usual; one that is denser there (`grids.quadratic`, `grids.karras`, flipped)
    serves data that is narrow in some direction. The probes of a rule that draws are new ones in
    each stage: the expectation is the same as with one probe kept, and the spread less.

    Args:
        process: needs VELOCITY and a prior with a density.
        denoiser: a `Denoiser`, or a function of (x, t), which autograd can differentiate.
        x0: clean floating state of any kind.
        grid: (N + 1,) ascending from a time above 0 to 1.
        trace: `Exact()` unless told; `Hutchinson` or `HutchPP` where an item has many numbers.
        generator: of the probes; `Streams` make an item's value independent of the batch.
        tableau: the method; as many calls and traces a step as it has stages.

    Returns:
        A `Likelihood`, without gradients.

    Raises:
        Unsupported: if the process has no velocity or its prior no density, or the denoiser cannot
            be differentiated.
        InputError: if the grid does not ascend strictly from above 0 to 1, the state holds ids, or
            a rule that draws got no generator.
    """
    if Can.VELOCITY not in process.can:
        raise Unsupported(
            f"log_likelihood needs VELOCITY; {process} can {process.can.names()}. A bound by "
            "LIKELIHOOD is sfumato.elbo"
        )
    grid = _checked(grid)
    rule = trace or Exact()
    plan, space = _plan(process, grid, tableau), subspace(process)
    x, total = x0, torch.zeros((), dtype=torch.float64)
    for h, stages in zip(grid.diff().tolist(), plan, strict=True):
        slopes: list[Any] = []
        for (t, row), before, weight in zip(stages, tableau.a, tableau.b, strict=True):

            def velocity(there: Any, t: Tensor = t, row: Any = row) -> Any:
                q = denoiser(there, t)
                process.check(q)
                mean = q.mean
                _differentiable(mean)
                return process.velocity(q, there, t, row)

            inner = _moved(x, h, before, slopes)
            slope, spread = divergence(velocity, inner, rule, generator, space)
            slopes.append(slope)
            total = total.to(spread.device) + h * weight * spread
        x = _moved(x, h, tableau.b, slopes)
    with torch.no_grad():
        value = total.mean(1) - process.prior(x).nll(x).double()
    return Likelihood(value, standard_error(rule, total), x)


def _checked(grid: Tensor) -> Tensor:
    if not isinstance(grid, Tensor) or grid.ndim != 1 or len(grid) < 2:
        raise InputError("the likelihood needs one grid for all items: (N + 1,) times, N >= 1")
    check_time(grid)
    grid = grid.detach().double()
    if float(grid[0]) == 0 or float(grid[-1]) != 1 or bool((grid.diff() <= 0).any()):
        raise InputError(
            "the likelihood needs a grid that ascends strictly from a small time above 0, such as "
            f"0.001, to 1, but this one goes from {float(grid[0]):g} to {float(grid[-1]):g}"
            + ("" if bool((grid.diff() > 0).all()) else " and does not ascend")
        )
    return grid


def _plan(process: Process, grid: Tensor, tableau: Tableau) -> list[list[tuple[Tensor, Any]]]:
    """For each step, time and velocity coefficients of each stage."""
    columns = []
    for place in tableau.c:
        t = grid[1:] if place == 1 else grid[:-1] + place * grid.diff()
        columns.append(list(zip(t.unbind(0), process.plan_velocity(t), strict=True)))
    return [list(stages) for stages in zip(*columns, strict=True)]


def _moved(x: Any, h: float, weights: Sequence[float], slopes: Sequence[Any]) -> Any:
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            x = axpy(h * weight, slope, x)
    return x


def _differentiable(mean: Any) -> None:
    """A velocity always depends on x, but its denoiser may have hidden how it does."""
    if not any(v.requires_grad for v in values(mean)):
        raise Unsupported(
            "the likelihood needs a denoiser that autograd can differentiate, but its posterior "
            "mean came without a graph; call the network outside of no_grad and inference_mode"
        )
