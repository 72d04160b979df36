"""Normal laws whose numbers are correlated."""

from __future__ import annotations

__all__ = ["FullNormal", "turned"]

import math

import torch
from torch import Tensor

from sfumato import Dirac, Posterior, kl, random

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def turned(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix (D, D) or (B, D, D) applied to the numbers of each item of x (B, ...).

    Rows are summed one by one and not by a matrix product, whose rounding depends on the batch.
    """
    flat = x.reshape(len(x), 1, -1)
    out: Tensor = (matrix.to(x) * flat).sum(-1).reshape(x.shape)
    return out


class FullNormal(Posterior):
    """N(mean, factor factor^T) over the numbers of each item.

    Args:
        mean: (B, ...) of D numbers an item.
        factor: (D, D) or (B, D, D) float64, invertible where a density is asked for.
    """

    __slots__ = ("_mean", "factor")

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        self._mean = mean
        self.factor = factor

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, generator: random.Source) -> Tensor:
        return self._mean + turned(self.factor, random.normal(self._mean, generator))

    def white(self, x: Tensor) -> Tensor:
        """(B, D) float64: factor^-1 (x - mean), standard normal under this law."""
        gap = (x - self._mean).double().flatten(1)
        out: Tensor = torch.linalg.solve(self.factor, gap[..., None])[..., 0]
        return out

    def log_volume(self) -> Tensor:
        """Log |det factor|."""
        out: Tensor = torch.linalg.slogdet(self.factor)[1]
        return out

    def nll(self, x: Tensor) -> Tensor:
        if not bool(self.factor.any()):
            return Dirac(self._mean).nll(x)  # which says why it has none
        z = self.white(x)
        return 0.5 * z.square().sum(1) + self.log_volume() + z.shape[1] * _HALF_LOG_2PI


@kl.register
def _(p: FullNormal, q: object) -> Tensor:
    if not isinstance(q, FullNormal):
        return kl.dispatch(object)(p, q)
    between = torch.linalg.solve(q.factor, p.factor)
    spread = between.square().sum((-1, -2)) - between.shape[-1]
    volume = q.log_volume() - p.log_volume()
    total: Tensor = 0.5 * (q.white(p.mean).square().sum(1) + spread) + volume
    return total
