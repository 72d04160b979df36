r"""How many lines of descent reach back over a time: the coefficients of Wright-Fisher diffusion.

Looked at backwards, a Wright-Fisher diffusion on the simplex of K classes with parameters 1 (flat
Dirichlet limit) is a death process of infinitely many lines. From n to n - 1 it goes at the rate

    lambda_n = n (n + K - 1) / K

in the time tau in which means decay as e^-tau, and with q_n(tau) = P(n lines are left)

    p(x_tau | x_0) = sum_n q_n(tau) sum_l Multinomial(l; n, x_0) Dirichlet(x_tau; 1 + l)

(Griffiths 1980; Tavare 1984; Jenkins & Spano 2017, arXiv:1506.06998). All terms are
positive, so that densities and their ratios keep their digits where the Jacobi series of the same
law (`sfumato_methods.simplex.jacobi`) loses all of them to cancellation: at short times, and far
out in the tails.

q_n is the inverse Laplace transform of 1/lambda_n prod_{j>=n} lambda_j/(lambda_j + theta)
= K Gamma(a + p) Gamma(a - p) / (n! (n + K - 1)!) with a = n + (K - 1)/2, p^2 = a^2 - K (theta +
lambda_n). It is taken along a parabola through its saddle point, where nothing cancels.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from scipy.special import gammaln, loggamma
from torch import Tensor

__all__ = ["LINES", "SPAN", "death_rates", "lines", "log_lines"]

LINES = 672
"""Numbers of lines in the tables: 0 to 671."""
SPAN = 512
"""Mean number of lines at the shortest time of the tables, tau = K/512."""
_END = 42.0  # e^-42 is below the rounding of 1
_RATIO = 1.03  # of one time of the tables to the one before
_NODES = 33


def death_rates(classes: int, count: int = LINES) -> Tensor:
    """(count,) lambda_n = n (n + K - 1)/K for n = 0, 1, ..."""
    n = torch.arange(count, dtype=torch.float64)
    return n * (n + classes - 1) / classes


def log_lines(classes: int, n: Any, tau: Any) -> Any:
    """Log q_n(tau), as a NumPy array of the shape that `n` and `tau` broadcast to.

    Exact to about 1e-12 for numbers up to some standard deviations from their mean K/tau.

    Args:
        classes: K, at least 2.
        n: whole numbers of lines, at least 0.
        tau: positive times.
    """
    k, half = float(classes), 0.5 * (classes - 1)
    n, tau = np.broadcast_arrays(np.asarray(n, float), np.asarray(tau, float))
    a = n + half
    low, high = 1 / tau, 2 / tau + 4 * k / tau**2 + a * a / k
    for _ in range(30):  # the saddle point, as a distance mu from the pole at -lambda_n
        mu = np.sqrt(low * high)
        early = _slope(k, a, mu) > tau
        low, high = np.where(early, mu, low), np.where(early, high, mu)
    nudge = 1e-4 * mu
    bend = (_slope(k, a, mu - nudge) - _slope(k, a, mu + nudge)) / (2 * nudge)
    reach = np.minimum(6.4, 7 / (mu * np.sqrt(bend)))
    u = np.linspace(0, 1, _NODES) * reach[..., None]
    line = (1 + 1j * u) ** 2 * mu[..., None]  # theta + lambda_n
    p = np.sqrt(a[..., None] ** 2 - k * line)
    exponent = line * tau[..., None] + loggamma(a[..., None] + p) + loggamma(a[..., None] - p)
    peak = exponent[..., 0].real
    values = ((1 + 1j * u) * np.exp(exponent - peak[..., None])).real
    total = (2 * values.sum(-1) - values[..., 0]) * reach / (_NODES - 1) * mu / math.pi
    decay = n * (n + k - 1) / k * tau
    return np.log(total) + peak - decay + math.log(k) - gammaln(n + 1) - gammaln(n + k)


def _slope(k: float, a: Any, mu: Any) -> Any:
    """About sum_{j>=n} 1/(lambda_j + theta), which is tau at the saddle point."""
    square = k * mu - a * a
    root, edge = np.sqrt(np.abs(square)) + 1e-9, a + 0.5
    inner = np.where(
        square > 0, np.arctan(root / edge), np.arctanh(np.minimum(root / edge, 1 - 1e-12))
    )
    return 1 / mu + k / root * inner


@functools.lru_cache(maxsize=8)
def _tables(classes: int) -> tuple[Tensor, Tensor]:
    """Log tau (T,), and (T, LINES, 3) of log q_n with two derivatives by log tau; -inf if 0.

    The derivatives are those of the death process, d q_n/d tau = lambda_{n+1} q_{n+1} - lambda_n
    q_n.
    """
    start = classes / SPAN
    count = math.ceil(math.log(_END / start) / math.log(_RATIO)) + 1
    tau = np.geomspace(start, _END, count)
    mean = classes / tau
    most = np.minimum(np.ceil(mean + 11 * np.sqrt(mean / 3) + 24), LINES + 1).astype(int)
    row = np.repeat(np.arange(count), most)
    n = np.concatenate([np.arange(m) for m in most])
    log_q = np.full((count, LINES + 2), -np.inf)
    log_q[row, n] = log_lines(classes, n, tau[row])
    rates = death_rates(classes, LINES + 2).numpy()
    with np.errstate(invalid="ignore"):
        inflow = rates[1:] * np.exp(np.nan_to_num(log_q[:, 1:] - log_q[:, :-1], nan=-np.inf))
    first = inflow - rates[:-1]
    second = inflow[:, :-1] * (first[:, 1:] - first[:, :-1])
    first, time = first[:, :-1], tau[:, None]
    table = np.stack([log_q[:, :-2], first * time, second * time**2 + first * time], -1)
    return torch.from_numpy(np.log(tau)), torch.from_numpy(table)


def lines(classes: int, tau: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of lines n = first + 0, 1, ..., and their probabilities after a time.

    Between the times of a table log q_n is the polynomial of degree 5 that has its derivatives
    there: q_n is then right to 1e-8 of itself, far in its tails to 1e-6. Below K/512, where there
    are more lines than the tables hold, only the two numbers next to K e^-tau/(1 - e^-tau) are
    taken, in proportions that keep the mean of the diffusion exact; the variance of what is lost
    is then off by less than 1e-3 of itself.

    Args:
        classes: K, at least 2.
        tau: (...) times, at least 0, inf included.

    Returns:
        (first, q): float64 (...) and (..., N), on the CPU.
    """
    grid, table = _tables(classes)
    tau = tau.detach().double().cpu().clamp_min(1e-12)
    short = tau < grid[0].exp()
    place = tau.clamp(classes / SPAN, _END).log()
    at = (torch.searchsorted(grid, place, right=True) - 1).clamp(0, len(grid) - 2)
    step = grid[at + 1] - grid[at]
    least = float(place.min().exp())
    used = min(LINES, int(classes / least + 11 * (classes / least / 3) ** 0.5) + 24)
    log_q = _quintic(table[at, :used], table[at + 1, :used], (place - grid[at]) / step, step)
    q = torch.where(log_q.isnan(), -torch.inf, log_q).exp()
    q = q / q.cumsum(-1)[..., -1:]
    only = torch.arange(used) == 0
    q = torch.where((tau >= _END)[..., None], only.double(), q)
    lost = -torch.expm1(-tau)
    low = (classes * (1 - lost) / lost).floor()
    a, b = 1 / (classes + low), 1 / (classes + low + 1)
    share = ((lost / classes - b) / (a - b)).clamp(0, 1)[..., None]
    two = torch.where(only, share, torch.where(torch.arange(used) == 1, 1 - share, 0.0))
    return torch.where(short, low, 0.0), torch.where(short[..., None], two, q)


def _quintic(left: Tensor, right: Tensor, place: Tensor, step: Tensor) -> Tensor:
    """(..., N) the polynomial of degree 5 through values and derivatives (..., N, 3) at 0 and 1."""
    x, h = place[..., None], step[..., None]
    y, d, c = left[..., 0], left[..., 1] * h, left[..., 2] * h * h
    rise = right[..., 0] - y - d - 0.5 * c
    slope = right[..., 1] * h - d - c
    bend = right[..., 2] * h * h - c
    third = 10 * rise - 4 * slope + 0.5 * bend
    fourth = -15 * rise + 7 * slope - bend
    fifth = 6 * rise - 3 * slope + 0.5 * bend
    return y + x * (d + x * (0.5 * c + x * (third + x * (fourth + x * fifth))))
