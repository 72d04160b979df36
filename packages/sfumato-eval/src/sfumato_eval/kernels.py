"""Kernel distances: the unbiased squared MMD, with the cubic kernel of KID or Gaussian kernels."""

from __future__ import annotations

__all__ = ["KID", "MMD", "squared_distances", "unbiased_mmd"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato import Batch, InputError

from .features import Features, pixels
from .score import Better, Score
from .sketch import MOST, Vectors, counted


def unbiased_mmd(
    a: Tensor, b: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], block: int = 1024
) -> float:
    """Squared maximum mean discrepancy, the unbiased U-statistic, in blocks.

    sum_{i != j} k(a_i, a_j) / (n (n-1)) + sum_{i != j} k(b_i, b_j) / (m (m-1))
    - 2 sum_{ij} k(a_i, b_j) / (n m). Gretton et al., "A Kernel Two-Sample Test", 2012, lemma 6.
    Its mean is exactly 0 for equal laws, so there it takes both signs.

    Args:
        a: (n, d) vectors, n at least 2.
        b: (m, d) vectors, m at least 2.
        kernel: symmetric; takes (r, d) and (c, d) float64, returns (r, c).
        block: rows and columns of the kernel matrix held in memory at a time.

    Raises:
        InputError: if a side has fewer than two items.
    """
    n, m = len(a), len(b)
    if n < 2 or m < 2:
        raise InputError(f"the unbiased MMD needs at least 2 items on each side, not {n} and {m}")
    within_a, within_b = _within(a, kernel, block), _within(b, kernel, block)
    across = math.fsum(
        float(kernel(u.double(), v.double()).sum())
        for u in torch.split(a, block)
        for v in torch.split(b, block)
    )
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m)


def _within(a: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], block: int) -> float:
    """Sum of k(a_i, a_j) over i != j; blocks above the diagonal count twice."""
    blocks, sums = [u.double() for u in torch.split(a, block)], []
    for i, u in enumerate(blocks):
        sums.append(float(kernel(u, u).fill_diagonal_(0).sum()))
        sums += [2 * float(kernel(u, v).sum()) for v in blocks[i + 1 :]]
    return math.fsum(sums)


@dataclass(frozen=True)
class KID:
    """Squared MMD with the kernel (<x, y>/d + 1)^3, unbiased, over all items kept.

    The estimator of Binkowski et al., "Demystifying MMD GANs", 2018, arXiv:1801.01401, in any
    features; only in Inception features is the number what papers print as KID.

    Attributes:
        features: what is compared.
        most: items kept of each side, see `Vectors`; None keeps all.
    """

    features: Features = pixels
    most: int | None = MOST
    name: ClassVar[str] = "kid"
    better: ClassVar[Better] = "lower"

    def summary(self, batch: Batch) -> Vectors:
        """The features of each item."""
        return self.features.vectors(batch, self.most)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The unbiased squared MMD; around 0, of either sign, for equal laws."""
        a.check(b)
        value = unbiased_mmd(a.rows, b.rows, lambda x, y: (x @ y.T / a.dimensions + 1) ** 3)
        protocol = (
            f"unbiased squared MMD, kernel (<x,y>/d + 1)^3, features {self.features.name} "
            f"(d={a.dimensions}){counted(a, b)}"
        )
        return Score(value, min(a.kept, b.kept), None, protocol)


@dataclass(frozen=True)
class MMD:
    """Squared MMD with a mean of Gaussian kernels exp(-|x-y|^2 / (2 (c l)^2)), unbiased.

    Gretton et al., "A Kernel Two-Sample Test", 2012. The length l is the root-mean-square
    distance between the items of the second side (the held-out data), so that a value and its
    floor use the same kernel.

    Attributes:
        features: what is compared.
        scales: the factors c.
        most: items kept of each side, see `Vectors`; None keeps all.
    """

    features: Features = pixels
    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    most: int | None = MOST
    name: ClassVar[str] = "mmd"
    better: ClassVar[Better] = "lower"

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < c < math.inf for c in self.scales):
            raise InputError(f"MMD takes positive finite scales, not {self.scales}")

    def summary(self, batch: Batch) -> Vectors:
        """The features of each item."""
        return self.features.vectors(batch, self.most)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The unbiased squared MMD; around 0, of either sign, for equal laws.

        Raises:
            InputError: if a side has fewer than two items, or all items of `b` are equal.
        """
        a.check(b)
        # the kernel does not see a shift, but squares of uncentred vectors would lose digits
        y = b.rows.double()
        x, y = a.rows.double() - y.mean(0), y - y.mean(0)
        # the mean squared distance between two different items is twice the total variance
        square = 2 * float(y.var(0).sum()) if len(y) > 1 else math.nan
        if square == 0:
            raise InputError("all items of the second side are equal: the kernel has no length")
        rates = [0.5 / (c * c * square) for c in self.scales]

        def kernel(u: Tensor, v: Tensor) -> Tensor:
            gaps = squared_distances(u, v)
            return torch.stack([(-rate * gaps).exp() for rate in rates]).mean(0)

        protocol = (
            f"unbiased squared MMD, Gaussian kernels at {', '.join(f'{c:g}' for c in self.scales)} "
            f"x {math.sqrt(square):.4g} (rms distance of side b), features {self.features.name} "
            f"(d={a.dimensions}){counted(a, b)}"
        )
        return Score(unbiased_mmd(x, y, kernel), min(a.kept, b.kept), None, protocol)


def squared_distances(u: Tensor, v: Tensor) -> Tensor:
    """(r, c) squared Euclidean distances of rows (r, d) and (c, d), through one product."""
    squares = u.square().sum(1)[:, None] + v.square().sum(1)
    return torch.addmm(squares, u, v.T, alpha=-2).clamp_min_(0)
