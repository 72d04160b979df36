r"""Jacobi diffusion on [0, 1], one stick of a broken simplex, from any point.

    dv = (s/2)(a (1 - v) - b v) dtau + (s v (1 - v))^(1/2) dW,    s = 2/(a + b)

has the stationary law Beta(a, b), and means decay as e^-tau (Avdeyev et al. 2023,
arXiv:2305.10699). With the polynomials p_n that are orthonormal under that law, those
of Jacobi in 2 v - 1,

    p(v_tau | v_0) = Beta(v_tau; a, b) sum_n e^(-lambda_n tau) p_n(v_0) p_n(v_tau),
    lambda_n = n (n - 1 + a + b)/(a + b).

`Simplex` moves the coordinate of a class as a = 1, b = K - 1 from v_0 = 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfumato import InputError

__all__ = ["log_beta", "transition"]

_TERMS = 4000


def transition(v: Tensor, v0: Tensor, tau: float, a: float, b: float) -> Tensor:
    """Density of v_tau given v_0, by the series, in float64.

    Terms alternate at short times: the error is about 1e-16 times the largest of them, which at
    v_0 = 0 or 1 and tau = 0.02 is 1e-10 for a, b near 1. Densities far out in the tails are not
    told, and may come out negative.

    Args:
        v: (...) where.
        v0: from where, in [0, 1]; broadcasts with `v`.
        tau: positive time.
        a: first parameter of the stationary law, positive.
        b: the second.

    Raises:
        InputError: for parameters that are not positive, or a time that needs over 4,000 terms.
    """
    if not (tau > 0 and a > 0 and b > 0):
        raise InputError(f"tau, a and b are positive, but are {tau:g}, {a:g} and {b:g}")
    terms = math.ceil(math.sqrt(80 * (a + b) / tau)) + 8
    if terms > _TERMS:
        raise InputError(f"the series of tau = {tau:g} would have {terms} terms; at most {_TERMS}")
    x, x0 = 2 * v.double() - 1, 2 * v0.double() - 1
    now, now0, before, before0 = (torch.ones_like(x), torch.ones_like(x0), 0 * x, 0 * x0)
    total, off = torch.ones_like(x * x0), 0.0
    for n in range(terms):
        middle, ahead = _recurrence(n, b - 1, a - 1)
        now, before = ((x - middle) * now - off * before) / ahead, now
        now0, before0 = ((x0 - middle) * now0 - off * before0) / ahead, now0
        off = ahead
        decay = math.exp(-(n + 1) * (n + a + b) / (a + b) * tau)
        total = total + decay * now * now0
    density: Tensor = total * log_beta(v, a, b).exp()
    return density


def log_beta(v: Tensor, a: float, b: float) -> Tensor:
    """Log density of Beta(a, b), float64."""
    v = v.double()
    norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    body: Tensor = torch.special.xlogy(a - 1, v) + torch.special.xlog1py(b - 1, -v)
    return body + norm


def _recurrence(n: int, alpha: float, beta: float) -> tuple[float, float]:
    """Of orthonormal polynomials: x p_n = ahead p_(n+1) + middle p_n + (the last ahead) p_(n-1)."""
    both = alpha + beta
    middle = (beta - alpha) / (both + 2)
    if n:
        middle = (beta**2 - alpha**2) / ((2 * n + both) * (2 * n + both + 2))
    m = n + 1
    if m == 1:  # its factors (1 + both) cancel
        square = 4 * (1 + alpha) * (1 + beta) / ((2 + both) ** 2 * (3 + both))
    else:
        square = 4 * m * (m + alpha) * (m + beta) * (m + both)
        square /= (2 * m + both) ** 2 * ((2 * m + both) ** 2 - 1)
    return middle, math.sqrt(square)
