"""ER-SDE-Solvers: the family of reverse SDEs with the marginals of the process, to third order.

In v = x/alpha and l = sigma/alpha the extended reverse-time SDE keeps every marginal for any noise
scale; Cui et al. 2023 (arXiv:2309.06169) write it by a function phi with phi(0) = 0. Its step from
l to l' < l is exact up to D, the posterior mean, as a function of l:

    v' = r v + (1 - r) D(l) + int_{l'}^{l} (phi(l')/phi(u) - 1) dD/du du + (l'^2 - r^2 l^2)^(1/2) n

with r = phi(l')/phi(l). phi(u) = u is the probability flow, phi(u) = u^2 the reverse SDE.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato import Can, InputError, Multistep, Process, random
from sfumato.process import rows
from sfumato.sampling import Point
from sfumato.state import Time

from .affine import exponential
from .linear import combine

__all__ = [
    "ER_SDE_5", "LOGARITHMIC", "ODE", "POWER_3_2", "POWER_5_2", "REVERSE_SDE", "ERSDE", "Phi",
    "extended", "interior",
]  # fmt: skip

_NODES = 48  # of Gauss and Legendre in log l; the integrands are analytic there
_SLACK = 1e-6  # rounding of log(phi(l)/l) that is not taken for a fall


@dataclass(frozen=True)
class Phi:
    """A noise-scale function phi.

    phi(l)/l must not fall with l: then no step needs noise of negative variance.

    Attributes:
        formula: of phi, to be shown.
        excess: log(phi(l)/l) for l > 0, float64, elementwise; its value at infinity counts too.
    """

    formula: str
    excess: Callable[[Tensor], Tensor]

    def __repr__(self) -> str:
        return f"Phi({self.formula})"


def _power(p: float) -> Callable[[Tensor], Tensor]:
    return lambda x: (p - 1) * x.log() if p != 1 else torch.zeros_like(x)


def _logarithmic(x: Tensor) -> Tensor:
    return -0.1 * x.log() + (torch.log1p(100 * x**1.5) / math.log(10)).log()


def _fifth(x: Tensor) -> Tensor:
    grown = x**0.3
    return torch.logaddexp(grown, torch.full_like(grown, math.log(10)))


ODE = Phi("x", _power(1))
REVERSE_SDE = Phi("x^2", _power(2))
POWER_3_2 = Phi("x^1.5", _power(1.5))
POWER_5_2 = Phi("x^2.5", _power(2.5))
LOGARITHMIC = Phi("x^0.9 log10(1 + 100 x^1.5)", _logarithmic)
ER_SDE_5 = Phi("x (exp(x^0.3) + 10)", _fifth)
# Those that Cui et al. 2023 compare; the last is their choice.


@dataclass(frozen=True)
class ERSDE(Multistep):
    """ER-SDE-Solver of order 1, 2 or 3; one call a step.

    The derivatives of D are differences of past predictions: D' = (D_i - D_{i-1})/(l_i - l_{i-1})
    and D'' = 2 (D'_i - D'_{i-1})/(l_i - l_{i-2}), as published (algorithms 1 to 4 and appendix A);
    D' being one-sided, the third order removes one of two terms of its size: on the probability
    flow it converges as h^2, with a smaller constant. Integrals over phi are taken by quadrature in
    float64. The first step, steps after a rest, and steps from or to an end of the range of l are
    of first order.

    Args:
        phi: noise scale; `ODE` draws nothing.
        order: 1, 2 or 3.
    """

    phi: Phi = ER_SDE_5
    order: int = 3

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise InputError(f"ERSDE: order must be 1, 2 or 3, but is {self.order}")

    @property
    def needs(self) -> Can:  # type: ignore[override]
        """AFFINE; noise must be Gaussian where some is added."""
        return Can.AFFINE if self.deterministic else Can.AFFINE | Can.GAUSSIAN

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    @property
    def deterministic(self) -> bool:
        return self.phi == ODE

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data, std = extended(process, grid, self.phi)
        if self.order == 1:
            return rows(grid, keep, std, data)
        return rows(grid, keep, std, *self._weights(process, grid, data))

    def _weights(self, process: Any, grid: Tensor, data: Tensor) -> list[Tensor]:
        """(N, ...) what D, the D before and the D before that are multiplied by."""
        inner, level = interior(process, grid)
        usable = inner[1:] & inner[:-1] & (grid[1:] != grid[:-1])
        start, end = (torch.where(usable, v, w) for v, w in ((level[:-1], 2.0), (level[1:], 1.0)))
        first, second = _integrals(self.phi, start, end)
        alpha, gap = process.alpha(grid[1:]), end - start  # gap: l_{i+1} - l_i, never 0
        before, again = _shifted(gap, 1), _shifted(gap, 2)  # l_i - l_{i-1}, l_{i-1} - l_{i-2}
        slope = torch.where(usable & _shifted(usable, 1), alpha * first / before, 0.0)
        if self.order == 2:
            return [data + slope, -slope]
        curved = usable & _shifted(usable, 1) & _shifted(usable, 2)
        span = torch.where(curved, before + again, 1.0)
        bend = torch.where(curved, 2 * alpha * second / span, 0.0)
        near, far = bend / before, bend / again
        return [data + slope + near, -slope - near - far, far]

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: random.Source
    ) -> Any:
        return combine(row, process, past, generator)


def interior(process: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Where l = sigma/alpha is neither 0 nor infinite, and l there (1 elsewhere).

    The ends are taken out before l is computed: an infinity behind a mask turns gradients into NaN.
    """
    inner = (process.alpha(grid) > 0) & (process.sigma(grid) > 0)
    level = (-0.5 * process.logsnr(torch.where(inner, grid, 0.5))).exp()
    return inner, torch.where(inner, level, 1.0)


def extended(process: Any, grid: Tensor, phi: Phi) -> tuple[Tensor, Tensor, Tensor]:
    """(keep, data, std) of x_s = keep x_t + data D + std n, D held; (1, 0, 0) where time rests.

    Raises:
        InputError: where phi(l)/l falls along the grid.
    """
    ratio, _ = exponential(process, grid)
    inner, level = interior(process, grid)
    excess = phi.excess(level)
    gap = excess[1:] - excess[:-1]  # log of (phi(l')/l') / (phi(l)/l), not positive
    whole = process.alpha(grid[:-1]) == 0  # no data left: l is infinite
    if bool(whole.any()):
        limit = phi.excess(torch.full_like(excess, torch.inf))[1:]
        gap = torch.where(whole, torch.where(inner[1:], excess[1:] - limit, 0.0), gap)
    moves = grid[1:] < grid[:-1]
    gap = torch.where(moves & inner[1:], gap, 0.0)
    _check(phi, gap, grid)
    gap = gap.clamp_max(0)
    keep = ratio * gap.exp()
    alpha = process.alpha(grid)
    data = torch.where(grid[1:] == grid[:-1], 0.0, alpha[1:] - keep * alpha[:-1])
    noisy = gap < 0
    share = -torch.expm1(2 * torch.where(noisy, gap, -1.0))  # the root has no gradient at 0
    return keep, data, torch.where(noisy, process.sigma(grid[1:]) * share.sqrt(), 0.0)


def _check(phi: Phi, gap: Tensor, grid: Tensor) -> None:
    wrong = ~(gap <= _SLACK)  # NaN counts as wrong
    if bool(wrong.any()):
        at = tuple(wrong.nonzero()[0].tolist())
        t, s = float(grid[:-1].expand_as(gap)[at]), float(grid[1:].expand_as(gap)[at])
        raise InputError(
            f"{phi} asks for noise of negative variance from t = {t:g} to {s:g}: phi(l)/l must not "
            "fall as l = sigma/alpha grows"
        )


# Nodes and weights on [-1, 1]: no tensors, since one made in inference mode would stay that.
_rule = functools.cache(np.polynomial.legendre.leggauss)


def _integrals(phi: Phi, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Integrals over u from l' to l of phi(l')/phi(u) - 1, alone and times (u - l)."""
    nodes, weights = (torch.from_numpy(v).to(start.device) for v in _rule(_NODES))
    low, high = end.log()[..., None], start.log()[..., None]
    log = low + (high - low) * 0.5 * (nodes + 1)
    u = log.exp()
    at = phi.excess(end)[..., None] + low
    excess = torch.expm1(at - phi.excess(u) - log)
    measure = 0.5 * (high - low) * weights * u
    first = (excess * measure).sum(-1)
    return first, (excess * measure * (u - start[..., None])).sum(-1)


def _shifted(x: Tensor, by: int) -> Tensor:
    """`x` delayed by so many steps; before the first, False or 1."""
    head = torch.zeros_like(x[:by]) if x.dtype == torch.bool else torch.ones_like(x[:by])
    return torch.cat([head, x[:-by]])
