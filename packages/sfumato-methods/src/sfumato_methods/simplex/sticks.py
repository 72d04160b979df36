r"""Points of the simplex as broken sticks, and their likelihood in log odds.

v_i = x_i/(1 - x_1 - ... - x_{i-1}), i < K, takes the simplex to the cube [0, 1]^(K-1), with
log |dx/dv| = sum_i (K - 1 - i) log(1 - v_i), i from 1; y_i = log(v_i/(1 - v_i)) takes that to
R^(K-1), where the probability flow has no boundary (Avdeyev et al. 2023, arXiv:2305.10699).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Can, InputError, Law, Process
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import Time, apply, item_sum

from ..measures.likelihood import log_likelihood
from ..measures.traces import Trace
from .process import Simplex

__all__ = ["LogOdds", "broken", "joined", "log_jacobian", "log_likelihood_of_classes"]


def broken(x: Tensor) -> Tensor:
    """(..., K - 1) log odds y of the sticks of points (..., K) inside the simplex."""
    behind = x.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    return x[..., :-1].log() - behind.log()


def joined(y: Tensor) -> Tensor:
    """(..., K) points of log odds (..., K - 1)."""
    left = F.logsigmoid(-y).cumsum(-1)
    before = F.pad(left, (1, 0))
    return torch.cat([(before[..., :-1] + F.logsigmoid(y)).exp(), left[..., -1:].exp()], -1)


def log_jacobian(y: Tensor) -> Tensor:
    """(...) log |dx/dy|, of the first K - 1 coordinates of x.

    With dv/dy = v (1 - v), sum_i log v_i + (K - i) log(1 - v_i), i from 1.
    """
    count = torch.arange(y.shape[-1], 0, -1, dtype=y.dtype, device=y.device)
    return (F.logsigmoid(y) + count * F.logsigmoid(-y)).sum(-1)


class _Odds(Law):
    """The law of log odds of a law of points."""

    def __init__(self, law: Law) -> None:
        self.law = law

    def nll(self, x: Any) -> Tensor:
        return self.law.nll(apply(x, joined)) - item_sum(apply(x, log_jacobian))


class LogOdds(Process):
    """The flow of a `Simplex` in log odds of sticks: states (..., K - 1), free of bounds.

    It has a prior, marginals with densities, and a velocity: what a likelihood needs.

    Args:
        process: of points.
    """

    can = Can.VELOCITY
    accepts = Simplex.accepts

    def __init__(self, process: Simplex) -> None:
        super().__init__()
        self.process = process

    def extra_repr(self) -> str:
        return repr(self.process)

    def prior(self, like: Any) -> Law:
        return _Odds(self.process.prior(apply(like, joined)))

    def marginal(self, x0: Any, t: Time) -> Law:
        return _Odds(self.process.marginal(x0, t))

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Any:
        points = apply(x, joined)
        moved = self.process.velocity(q, points, t, row)

        def rate(v: Tensor, dv: Tensor) -> Tensor:
            behind = v.flip(-1).cumsum(-1).flip(-1)[..., 1:]
            behind_moved = dv.flip(-1).cumsum(-1).flip(-1)[..., 1:]
            return dv[..., :-1] / v[..., :-1] - behind_moved / behind

        return apply(points, rate, moved)


def log_likelihood_of_classes(
    process: Simplex,
    denoiser: Denoise,
    x0: Any,
    grid: Tensor,
    *,
    generator: Source,
    trace: Trace | None = None,
) -> Tensor:
    """(B,) estimates of log p(x_0) of classes, float64: one draw each, exact for exact denoisers.

    By Bayes' rule log p(x_0) = log p_t(x) + log p(x_0 | x) - log q(x | x_0) for every x, here a
    draw of q(x | x_0) at t = grid[0]. The first term is that of the probability flow
    (`sfumato_methods.measures.log_likelihood`, in log odds), the second that of the denoiser, taken
    place by place. With a posterior whose places depend on each other the second is a bound no
    longer, but an error that vanishes with grid[0].

    Args:
        process: of the points.
        denoiser: returns `Categorical` posteriors, which autograd can differentiate.
        x0: state of ids.
        grid: (N + 1,) ascending from a time above 0 to 1.
        generator: of the draw, and of probes.
        trace: `Exact()` unless told; `Hutchinson` where an item has many numbers.

    Raises:
        InputError: if the grid does not ascend strictly from above 0 to 1.
    """
    if not (isinstance(grid, Tensor) and grid.ndim == 1 and float(grid[0]) > 0):
        raise InputError("the likelihood needs times (N + 1,) that ascend from above 0 to 1")
    t, odds = grid[0].double(), LogOdds(process)
    start = process.marginal(x0, t)
    x = start.sample(generator)
    y = apply(x, broken)

    def seen(y: Any, t: Any) -> Any:
        return denoiser(apply(y, joined), t)

    flow = log_likelihood(odds, seen, y, grid, trace=trace, generator=generator)
    with torch.no_grad():
        told = -denoiser(x, t).nll(x0).double()
        found: Tensor = flow.value + told + odds.marginal(x0, t).nll(y)
    return found
