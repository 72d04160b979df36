r"""Fast Diffusion Model: the input scale of a network by critically damped momentum.

Gradient descent with momentum on the quadratic that a noising step minimises is a damped
oscillator x'' + 2 m x' + m^2 x = 0 in the time B; critically damped from x = 1 at rest it is

    s(B) = (1 + m B) exp(-m B)

(Wu et al. 2023, arXiv:2306.08249). As released, this scales what the network sees, with
B = beta_min t + (beta_max - beta_min) t^2/2 and t the noise level on a linear scale; target, output
and solvers stay those of Karras et al. 2022.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Preconditioned

__all__ = ["Momentum", "damped", "warm_up"]


def damped(elapsed: Tensor, momentum: float) -> Tensor:
    """(1 + m B) exp(-m B)."""
    pull = momentum * elapsed
    return (1 + pull) * torch.exp(-pull)


def warm_up(step: int, steps: int, low: float = 5.0, high: float = 500.0) -> float:
    """Bound on the weight of the loss in a step: low at first, geometric, none after `high`.

    Args:
        step: number of steps made.
        steps: steps in which the bound grows from `low` to `high`.
        low: first bound.
        high: last bound.
    """
    if steps < 1 or not 0 < low < high:
        raise InputError(f"warm_up takes steps >= 1 and 0 < low < high, not {steps}, {low}, {high}")
    return low * (high / low) ** (step / steps) if step < steps else math.inf


class Momentum(Preconditioned):
    """`Preconditioned` whose network sees s(B) x / alpha; the other arguments as there.

    Args:
        momentum: m; the release trains with 2.
        sigma_min: noise level sigma/alpha at which B = 0, and below.
        sigma_max: noise level at which t = 1.
        beta_min: rate of B at t = 0.
        beta_max: rate of B at t = 1.
    """

    def __init__(
        self,
        *args: Any,
        momentum: float = 2.0,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        beta_min: float = 0.1,
        beta_max: float = 20.0,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        if not (momentum > 0 and 0 <= sigma_min < sigma_max and 0 <= beta_min <= beta_max):
            raise InputError(
                "Momentum takes momentum > 0, sigma_min < sigma_max and beta_min <= beta_max, not "
                f"{momentum}, {sigma_min}, {sigma_max}, {beta_min}, {beta_max}"
            )
        self.momentum, self.levels, self.beta = (
            momentum,
            (sigma_min, sigma_max),
            (beta_min, beta_max),
        )

    def elapsed(self, level: Tensor) -> Tensor:
        """B at a noise level sigma/alpha."""
        low, high = self.levels
        t = ((level - low) / (high - low)).clamp_min(0)
        return self.beta[0] * t + 0.5 * (self.beta[1] - self.beta[0]) * t.square()

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keep, gain, _ = super()._coefficients(alpha, sigma)
        return keep, gain, damped(self.elapsed(sigma / alpha), self.momentum) / alpha
