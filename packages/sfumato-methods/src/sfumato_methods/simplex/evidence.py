"""What a point of the simplex says of the vertex that it came from.

With h_t(x_k) = sum_n q_n C(n + K - 1, n) x_k^n, the density of x_t given the class k with respect
to the flat Dirichlet law. It depends on one coordinate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.special import gammaln
from torch import Tensor

from .lineages import lines

__all__ = ["Series", "log_factorials", "series"]

_FACTORIALS = 4096


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

    def sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """sum_j c_j x^j and its derivative, at x (..., K), by Horner's rule."""
        c = self.coefficients
        c = c[..., : int((c.reshape(-1, c.shape[-1]) > 1e-40).any(0).nonzero()[-1]) + 1]
        rows = c.tolist() if c.ndim == 1 else c[..., None].to(x.device).unbind(-2)
        total, slope = torch.zeros_like(x), torch.zeros_like(x)
        for value in reversed(rows):
            slope = slope * x + total
            total = total * x + value
        return total, slope

    def log(self, x: Tensor) -> Tensor:
        """Log h(x), float64 (..., K)."""
        x = x.double()
        first, scale = (v[..., None].to(x.device) for v in (self.first, self.scale))
        power = torch.where(first > 0, first * x.clamp_min(1e-300).log(), 0.0)
        return scale + power + self.sums(x)[0].log()

    def ratio(self, x: Tensor) -> Tensor:
        """h'(x)/h(x), the score of a place whose class is known; float64 (..., K)."""
        x = x.double()
        total, slope = self.sums(x)
        return self.first[..., None].to(x.device) / x.clamp_min(1e-300) + slope / total

    def expected(self, x: Tensor) -> Tensor:
        """x h'(x)/h(x), the expected number of lines that lead to the class; float64 (..., K)."""
        x = x.double()
        total, slope = self.sums(x)
        return self.first[..., None].to(x.device) + x * slope / total


def series(classes: int, tau: Tensor) -> Series:
    """h at times tau (...), see `Series`."""
    first, q = lines(classes, tau)
    n = first[..., None] + torch.arange(q.shape[-1], dtype=torch.float64)
    binomial = torch.from_numpy(gammaln((n + classes).numpy()) - gammaln((n + 1).numpy()))
    log_c = q.log() + binomial - math.lgamma(classes)
    scale = log_c.amax(-1)
    return Series(scale, first, (log_c - scale[..., None]).exp())


def log_factorials(count: int) -> Tensor:
    """(count,) log n! for n = 0, 1, ..."""
    return torch.from_numpy(gammaln(torch.arange(1, count + 1, dtype=torch.float64).numpy()))
