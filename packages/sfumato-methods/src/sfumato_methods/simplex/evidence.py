"""What a point of the simplex says of the vertex that it came from.

With h_t(x_k) = sum_n q_n C(n + K - 1, n) x_k^n, the density of x_t given the class k with respect
to the flat Dirichlet law. It depends on one coordinate.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy.special import gammaln
from torch import Tensor

from .lineages import lines

__all__ = ["Series", "series"]


class Series(NamedTuple):
    """h as e^scale x^first sum_j c_j x^j, its largest coefficient 1.

    Attributes:
        scale: (...) logarithm of the largest coefficient.
        first: (...) the power that all have.
        coefficients: (..., N).
    """

    scale: Tensor
    first: Tensor
    coefficients: Tensor

    def _rows(self, x: Tensor) -> list[Any]:
        """The coefficients, the highest power first: floats where all places have one time."""
        c = self.coefficients
        used = (c.reshape(-1, c.shape[-1]) > 1e-40).any(0).nonzero()[-1]
        c = c[..., : int(used) + 1].flip(-1)
        return c.tolist() if c.ndim == 1 else list(c[..., None].to(x.device).unbind(-2))

    def sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """sum_j c_j x^j and its derivative, at x (..., K), by Horner's rule."""
        total, slope = torch.zeros_like(x), torch.zeros_like(x)
        for value in self._rows(x):
            slope = torch.addcmul(total, slope, x)
            total = total * x + value
        return total, slope

    def log(self, x: Tensor) -> Tensor:
        """Log h(x), float64 (..., K)."""
        x = x.double()
        first, scale = (v[..., None].to(x.device) for v in (self.first, self.scale))
        power = torch.where(first > 0, first * x.clamp_min(1e-300).log(), 0.0)
        total = torch.zeros_like(x)
        for value in self._rows(x):
            total = total * x + value
        return scale + power + total.clamp_min(1e-300).log()

    def ratio(self, x: Tensor) -> Tensor:
        """h'(x)/h(x), the score of a place whose class is known; float64 (..., K)."""
        x = x.double()
        total, slope = self.sums(x)
        return self.first[..., None].to(x.device) / x.clamp_min(1e-300) + slope / total

    def expected(self, x: Tensor) -> Tensor:
        """The expected number of lines that lead to the class, x h'(x)/h(x); float64 (..., K)."""
        x = x.double()
        total, slope = self.sums(x)
        return self.first[..., None].to(x.device) + x * slope / total


def series(classes: int, tau: Tensor) -> Series:
    """The likelihood h at times tau (...)."""
    first, q = lines(classes, tau)
    n = first[..., None] + torch.arange(q.shape[-1], dtype=torch.float64)
    binomial = torch.from_numpy(gammaln((n + classes).numpy()) - gammaln((n + 1).numpy()))
    log_c = q.log() + binomial - math.lgamma(classes)
    scale = log_c.amax(-1)
    return Series(scale, first, (log_c - scale[..., None]).exp())
