"""Diffusion as serial reproduction (Marjieh et al. 2022, arXiv:2209.14821).

A chain of observers: each sees a noisy y ~ q_n(y | x) of the last reproduction x and draws the next
from its exact posterior x' ~ p(x | y) under the prior p. Whatever the noise q_n, p is stationary:

    sum_x p(x) sum_y q(y | x) p(x' | y) = p(x').

Sampling by diffusion is such a chain whose noise falls from level to level. Here x lives on a grid
of points, so that posteriors and the law after any number of links are sums without error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfumato import InputError, random

__all__ = [
    "FAMILIES", "Fade", "Gaussian", "Laplace", "Noise", "Uniform", "after", "channel", "drawn",
    "lattice", "reproduction", "total_variation",
]  # fmt: skip


class Noise(Protocol):
    """A family of noise, at any standard deviation."""

    def log_density(self, y: Tensor, x: Tensor, std: float) -> Tensor:
        """Log of q(y | x) up to a constant, of y (Y, 1, d) and x (1, X, d): (Y, X).

        Given x each coordinate of y has variance std^2.
        """


@dataclass(frozen=True)
class Gaussian:
    """y = x + std e with normal e."""

    def log_density(self, y: Tensor, x: Tensor, std: float) -> Tensor:
        return -0.5 * ((y - x) / std).square().sum(-1)


@dataclass(frozen=True)
class Laplace:
    """y = x + e with density exp(-|e| / b) along each axis; its variance is 2 b^2."""

    def log_density(self, y: Tensor, x: Tensor, std: float) -> Tensor:
        return -(math.sqrt(2) / std) * (y - x).abs().sum(-1)


@dataclass(frozen=True)
class Uniform:
    """y = x + e with e uniform on [-a, a] along each axis; its variance is a^2 / 3."""

    def log_density(self, y: Tensor, x: Tensor, std: float) -> Tensor:
        inside = ((y - x).abs() <= math.sqrt(3) * std * (1 + 1e-12)).all(-1)
        return torch.where(inside, 0.0, -torch.inf).to(y)


@dataclass(frozen=True)
class Fade:
    """y = (1 + std^2)^(-1/2) x + std e: the stimulus fades as noise comes in.

    The signal is that of a variance-preserving step before its rescaling, so that the family is
    the fading kind of noise at the conditional variance of the others.
    """

    def log_density(self, y: Tensor, x: Tensor, std: float) -> Tensor:
        return Gaussian().log_density(y, x / math.sqrt(1 + std * std), std)


FAMILIES: dict[str, Noise] = {
    "gaussian": Gaussian(), "laplace": Laplace(), "uniform": Uniform(), "fade": Fade(),
}  # fmt: skip


def lattice(low: float, high: float, count: int, dimensions: int = 1) -> Tensor:
    """(count^d, d) points of a regular grid on a cube, float64.

    Args:
        low: first value along each axis.
        high: last value.
        count: values along each axis, at least 2.
        dimensions: d.
    """
    if count < 2 or not low < high:
        raise InputError(f"a grid needs 2 values or more from low to high, not {count}")
    line = torch.linspace(low, high, count, dtype=torch.float64)
    return torch.cartesian_prod(*[line] * dimensions).reshape(-1, dimensions)


def channel(noise: Noise, points: Tensor, std: float, seen: Tensor | None = None) -> Tensor:
    """(Y, X) probabilities q(y | x), every column summing to 1.

    Args:
        noise: family.
        points: (X, d) places of x.
        std: standard deviation along each axis, positive.
        seen: (Y, d) places of y; those of x unless told. What falls beyond them is left out, so
            that they should reach some standard deviations farther.

    Raises:
        InputError: if std is not positive, or no y can be seen of some x.
    """
    if not std > 0:
        raise InputError(f"noise needs a positive standard deviation, not {std}")
    places = points if seen is None else seen
    logs = noise.log_density(places[:, None], points[None], std)
    if bool((logs.amax(0) == -torch.inf).any()):
        raise InputError(
            f"some points have no place to be seen at with std={std}; use a finer grid"
        )
    return logs.softmax(0)


def reproduction(kernel: Tensor, prior: Tensor) -> Tensor:
    """(X, X) probabilities of the next reproduction (row) given the last (column): one link.

    Args:
        kernel: (Y, X) as of `channel`.
        prior: (X,) of the observer, summing to 1.
    """
    joint = kernel * prior
    posterior = joint / joint.sum(1, keepdim=True).clamp_min(1e-300)
    return posterior.T @ kernel


def after(start: Tensor, prior: Tensor, kernels: Sequence[Tensor]) -> Tensor:
    """(X,) exact law after a chain of links with these kernels, from the law `start`.

    Args:
        start: (X,) law of the first stimulus.
        prior: (X,) of all observers.
        kernels: (Y, X) each, as of `channel`; a diffusion sampler's fall in noise.
    """
    law = start
    for kernel in kernels:
        law = reproduction(kernel, prior) @ law
    return law


def drawn(
    start: Tensor, prior: Tensor, kernels: Sequence[Tensor], generator: random.Source
) -> Tensor:
    """(B,) indices that chains from `start` (B,) end at, drawn link by link.

    Args:
        start: (B,) long, first stimuli as indices of points.
        prior: see `after`.
        kernels: see `after`.
        generator: one, or `Streams` with one for each chain.
    """
    at = start
    for kernel in kernels:
        y = random.categorical(kernel.T[at], generator)
        at = random.categorical(kernel[y] * prior, generator)
    return at


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of |p - q|: 0 for equal laws, 1 for laws that share no point."""
    return float(0.5 * (p - q).abs().sum())
