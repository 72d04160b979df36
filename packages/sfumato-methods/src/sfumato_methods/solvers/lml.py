"""LML: DDIM whose noise direction is turned by a rank-one curvature of log p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, InputError, Multistep, Process
from sfumato.process import rows
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, scale

from ..terms import plus
from .linear import gram

__all__ = ["LML"]

_TINY = torch.tensor(1e-300, dtype=torch.float64)


@dataclass(frozen=True)
class LML(Multistep):
    """Levenberg-Marquardt-Langevin, one call a step: x_s = alpha_s D + sigma_s e'.

    With e = (x_t - alpha_t D)/sigma_t and m = kappa e_before + (1 - kappa) e the direction is
    e - m <e, m>/(damping |e|^2 + |m|^2), scaled back to |e| (Wang et al. 2025, arXiv:2505.24222),
    inner products item by item in float64. With kappa = 0, the default of the release, m is e: the
    scaling undoes the turn, and the method is DDIM exactly. With the absolute damping of the
    release (0.001 against |e|^2 of the order of the dimension) the direction that is left of e is
    what rounding makes of it; here the damping is relative. Each turn is of the order of the step,
    so that their sum does not vanish as steps are added: for any other kappa the method is not
    consistent, and what it may gain it gains in few steps. Negative kappa extrapolates the noise,
    which is ours and not the paper's.

    Args:
        kappa: weight of the previous noise, in [-2, 1).
        damping: relative to |e|^2, positive.
        freeze: share of the steps, from the first, that stay DDIM.
    """

    kappa: float = 0.5
    damping: float = 1.0
    freeze: float = 0.0
    needs: ClassVar[Can] = Can.AFFINE
    memory: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not (-2 <= self.kappa < 1 and self.damping > 0 and 0 <= self.freeze <= 1):
            raise InputError(
                "LML takes kappa in [-2, 1), damping > 0 and freeze in [0, 1], not "
                f"kappa={self.kappa}, damping={self.damping}, freeze={self.freeze}"
            )

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        alpha, sigma = process.alpha(grid), process.sigma(grid)
        inverse = torch.where(sigma[:-1] > 0, 1 / sigma[:-1].clamp_min(1e-300), 0.0)
        pull = -alpha[:-1] * inverse
        turns = torch.arange(len(pull)) >= max(1, round(self.freeze * len(pull)))
        old = [self.kappa * c for c in _before(inverse, pull)]
        planned = rows(grid, alpha[1:], sigma[1:], inverse, pull, *old)
        # what weighs e and q is linear in (<e, e>, <e, q>, <q, e>, <q, q>)
        mixing = torch.tensor([[self.damping, -1], [0, -1], [1, 0], [1, 0]], dtype=torch.float64)
        return [
            (*row, mixing.to(grid.device) if turn else None)
            for row, turn in zip(planned, turns.tolist(), strict=True)
        ]

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        alpha, sigma, inverse, pull, inverse_before, pull_before, mixing = row
        now = past[-1]
        mean = now.posterior.mean
        e = plus(pull, mean, scale(inverse, now.x))
        if mixing is not None:
            before = past[0]
            q = plus(pull_before, before.posterior.mean, scale(inverse_before, before.x))
            e = _turned(e, plus(-self.kappa, e, q), mixing)
        return plus(alpha, mean, scale(sigma, e))


def _turned(e: Any, q: Any, mixing: Tensor) -> Any:
    """The direction for m = e + q, written so that nothing cancels as q goes to 0.

    It is along (damping |e|^2 + <e, q> + |q|^2) e - (|e|^2 + <e, q>) q.
    """
    products = gram(e, q)
    weights = torch.mm(products.flatten(1), mixing.to(products.device))
    squared = torch.bmm(weights.unsqueeze(1), torch.bmm(products, weights.unsqueeze(2))).flatten(1)
    # both bounded: e = 0 has a gradient too
    longer = (products.select(1, 0)[:, :1] + _TINY).div_(squared + _TINY).sqrt()
    weights = weights * longer
    if isinstance(e, Tensor):  # the common case, aligned once for both
        aligned = weights.to(e.dtype).reshape(-1, 2, *(1,) * (e.ndim - 1))
        own, other = aligned.unbind(1)
        return (e * own).addcmul_(q, other)
    own, other = weights.unbind(-1)
    return plus(other, q, scale(own, e))


def _before(*columns: Tensor) -> list[Tensor]:
    """Each column one step earlier."""
    return [torch.cat([c[:1], c[:-1]]) for c in columns]
