r"""Exponential Adams-Bashforth: polynomials in log-SNR, integrated exactly.

With lam = log(alpha/sigma), h = lam_s - lam_t and u = (lam - lam_t)/h the probability flow is

    x_s = sigma_s/sigma_t x_t + alpha_s h \int_0^1 exp(-h (1 - u)) x_0(u) du    (data)
    x_s = alpha_s/alpha_t x_t - sigma_s h \int_0^1 exp(h (1 - u)) eps(u) du     (noise)

(Lu et al. 2022, arXiv:2206.00927, eq. 3.4, and arXiv:2211.01095, eq. 9). What the network said at
the last points is interpolated by a polynomial in u, whose integrals are those of its powers,

    \int_0^1 exp(z (1 - u)) u^k du = k! phi_{k+1}(z).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sfumato import InputError
from sfumato.process import rows

from .affine import Combination, exponential, half_logsnr, noise_columns

__all__ = [
    "ExponentialAB", "Predict", "bounded", "check_bound", "check_order", "check_predict",
    "corrections", "front", "moments", "phi", "scaled_moments",
]  # fmt: skip

Predict = Literal["data", "noise"]
"""What is interpolated: the posterior mean of the data, or of the noise."""

_SERIES = 20  # terms for |z| < 1: the last one is below 1e-17


def phi(count: int, z: Tensor) -> list[Tensor]:
    """phi_1 to phi_count: phi_k(z) = sum_j z^j / (j + k)!, to some 1e-14 for any z.

    phi_0 = exp and phi_{k+1} = (phi_k - 1/k!) / z, which cancels for small z: the series is taken
    there.
    """
    small = z.detach().abs() < 1
    inner, outer = torch.where(small, z, 0.0), torch.where(small, 1.0, z)
    found, value = [], torch.expm1(outer)  # phi_0 - 1
    for k in range(1, count + 1):
        value = value / outer if k == 1 else (value - 1 / math.factorial(k - 1)) / outer
        series = torch.zeros_like(inner)
        for j in reversed(range(_SERIES)):
            series = series * inner + 1 / math.factorial(j + k)
        found.append(torch.where(small, series, value))
    return found


def moments(count: int, z: Tensor) -> list[Tensor]:
    r"""\int_0^1 exp(z (1 - u)) u^k du for k = 0 to count - 1."""
    return [math.factorial(k) * f for k, f in enumerate(phi(count, z))]


def corrections(
    powers: Sequence[Tensor], nodes: Sequence[Tensor], depth: Tensor, first: int = 1
) -> list[Tensor]:
    """Weights of the values at the nodes in the higher terms of their integrated interpolation.

    The Newton form is sum_m M_m f[u_0, ..., u_m], where M_m is the integral of (u - u_0) ...
    (u - u_{m-1}) and the divided difference f[...] = sum_j f(u_j) / prod_{l != j} (u_j - u_l).

    Args:
        powers: integrals of u^k, k = 0, 1, ...
        nodes: positions u_j.
        depth: the terms m > depth are left out, element by element.
        first: the terms m < first are left out.
    """
    weights = [torch.zeros_like(powers[0]) for _ in nodes]
    product = [torch.ones_like(powers[0])]  # coefficients of (u - u_0) ... (u - u_{m-1})
    for m in range(1, len(nodes)):
        shifted = [torch.zeros_like(powers[0]), *product]
        scaled = [*(-nodes[m - 1] * c for c in product), torch.zeros_like(powers[0])]
        product = [a + b for a, b in zip(shifted, scaled, strict=True)]
        if m < first:
            continue
        terms = [c * power for c, power in zip(product, powers, strict=False)]
        moment = torch.where(depth >= m, torch.stack(terms).sum(0), 0.0)
        for j in range(m + 1):
            gaps = [nodes[j] - nodes[i] for i in range(m + 1) if i != j]
            weights[j] = weights[j] + moment / torch.stack(gaps).prod(0)
    return weights


def bounded(
    depth: Tensor, powers: Sequence[Tensor], nodes: Sequence[Tensor], bound: float
) -> Tensor:
    """The depth, lowered where the weights would magnify errors of the values by more than `bound`.

    They do so by sum_j |w_j| / |sum_j w_j|, which is 1 for one value, and grows with the order and
    with the length of a step beside the ones before it.
    """
    if math.isinf(bound):
        return depth
    allowed = torch.zeros_like(depth)
    for d in range(1, len(nodes)):
        weights = corrections(powers, nodes[: d + 1], torch.full_like(depth, d))
        total = (powers[0] + weights[0]).abs() + sum(w.abs() for w in weights[1:])
        fits = (total <= bound * powers[0].abs()) & (depth >= d)
        allowed = torch.where(fits.detach(), d, allowed)
    return allowed


def check_bound(owner: object, bound: float) -> None:
    """Raise `InputError` if no combination of values could keep to the bound."""
    if not bound >= 1:
        raise InputError(f"{type(owner).__name__}: bound must be at least 1, but is {bound}")


def check_order(owner: object, order: int, most: int) -> None:
    """Raise `InputError` if an order is not one of 1 to `most`."""
    if order not in range(1, most + 1):
        raise InputError(f"{type(owner).__name__}: order must be 1 to {most}, but is {order}")


def check_predict(owner: object, predict: str) -> None:
    """Raise `InputError` if `predict` is not one of "data" and "noise"."""
    if predict not in get_args(Predict):
        raise InputError(
            f'{type(owner).__name__}: predict must be "data" or "noise", but is {predict!r}'
        )


@dataclass(frozen=True)
class ExponentialAB(Combination):
    """The last `order` predictions, interpolated in log-SNR and integrated exactly.

    Order 1 is DDIM. In noise prediction it is what diffusers calls DEIS; in data prediction order 3
    is DPM-Solver++(3M). The order is built up in the first steps; after a rest, and for steps from
    or to an end where log-SNR is infinite, it starts again from 1.

    Args:
        order: 1 to 4.
        predict: "data" is the more stable in few steps, "noise" where the data has fine detail.
        bound: a step uses the highest order at which its weights magnify errors of the predictions
            by no more than this. Order k on equal short steps magnifies by 1, 2, 11/3, 20/3; steps
            much longer than those before by far more, and are the better for a lower order.
    """

    order: int = 3
    predict: Predict = "data"
    bound: float = math.inf

    def __post_init__(self) -> None:
        check_order(self, self.order, 4)
        check_predict(self, self.predict)
        check_bound(self, self.bound)

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        return rows(grid, *self.columns(process, grid))

    def columns(self, process: Any, grid: Tensor) -> list[Tensor]:
        """The columns of the plan: what the last states weigh, then the last posterior means."""
        keep, data = exponential(process, grid)
        steps = half_logsnr(process, grid)
        depth = steps.depth(self.order - 1)
        nodes = steps.nodes(self.order - 1, depth)
        powers = scaled_moments(process, grid, steps.h, self.order, self.predict)
        depth = bounded(depth, powers, nodes, self.bound)
        weights = corrections(powers, nodes, depth)
        if self.predict == "noise":
            return noise_columns(process, grid, keep, data, weights)
        return [keep, data + weights[0], *weights[1:]]


def front(process: Any, grid: Tensor, h: Tensor, predict: Predict) -> Tensor:
    """(N, ...) what stands before the integral over u: alpha_s h, or -sigma_s h."""
    end = grid[1:]
    if predict == "data":
        factor: Tensor = process.alpha(end) * h
        return factor
    clean = process.sigma(end.detach()) == 0  # there sigma'(t) may be infinite
    return -h * torch.where(clean, 0.0, process.sigma(torch.where(clean, 0.5, end)))


def scaled_moments(
    process: Any, grid: Tensor, h: Tensor, count: int, predict: Predict
) -> list[Tensor]:
    """The integrals of powers of u, with what stands before them in the flow."""
    factor = front(process, grid, h, predict)
    return [factor * power for power in moments(count, -h if predict == "data" else h)]
