"""Frechet distance between Gaussians fitted to any features, from moments that add."""

from __future__ import annotations

__all__ = ["Frechet", "Moments", "frechet_distance"]

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato import Batch, InputError

from .features import Features, pixels
from .score import Better, Score


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Frechet (2-Wasserstein) distance, squared, between two Gaussians.

    |m_a - m_b|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2; Dowson and Landau, 1982. With factors
    A = L L', B = M M' the last trace is the sum of the singular values of L' M. This way no small
    eigenvalue of a product is ever rooted, which keeps singular covariances exact to rounding.

    Args:
        mean_a: (d,) mean.
        cov_a: (d, d) symmetric, positive semi-definite up to rounding; may be singular.
        mean_b: (d,) mean.
        cov_b: (d, d) as `cov_a`.

    Returns:
        The distance, never negative.
    """
    left, right = _factor(cov_a), _factor(cov_b)
    shift = (mean_a.double() - mean_b.double()).square().sum()
    spread = left.square().sum() + right.square().sum()
    common = torch.linalg.svdvals(left.T @ right).sum()
    return max(0.0, float(shift + spread - 2 * common))


def _factor(covariance: Tensor) -> Tensor:
    """(d, r) L with L L' = covariance; eigenvalues that are rounding noise are dropped."""
    values, vectors = torch.linalg.eigh(covariance.double())
    keep = values > len(values) * torch.finfo(torch.float64).eps * values.abs().max()
    factor: Tensor = vectors[:, keep] * values[keep].sqrt()
    return factor


@dataclass(frozen=True, eq=False)
class Moments:
    """A summary by plain sums: adding two gives the moments of both sets together.

    Attributes:
        n: number of items.
        total: (d,) float64, sum of the features.
        outer: (d, d) float64, sum of their outer products.
    """

    n: int
    total: Tensor
    outer: Tensor

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets together.

        Raises:
            InputError: if the features have another number of dimensions.
        """
        self.check(other)
        return Moments(self.n + other.n, self.total + other.total, self.outer + other.outer)

    def check(self, other: Moments) -> None:
        """Raise `InputError` unless both are moments of features of equal size."""
        if len(self.total) != len(other.total):
            raise InputError(
                f"the features have {len(self.total)} dimensions on one side and "
                f"{len(other.total)} on the other; both sides need the same feature function"
            )

    @property
    def mean(self) -> Tensor:
        """(d,) mean."""
        return self.total / self.n

    @property
    def covariance(self) -> Tensor:
        """(d, d) unbiased covariance (divided by n - 1).

        Raises:
            InputError: if there are fewer than two items, or the sums have overflown.
        """
        if self.n < 2:
            raise InputError(f"a covariance needs at least 2 items, not {self.n}")
        if not self.outer.isfinite().all():
            raise InputError("the features are too large to be squared and summed: scale them down")
        return (self.outer - torch.outer(self.total, self.mean)) / (self.n - 1)


@dataclass(frozen=True)
class Frechet:
    """Frechet distance between Gaussians fitted to the features of both sides, squared.

    The formula of Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017,
    arXiv:1706.08500, on any feature function; biased upwards at small n, so compare equal n only.
    Memory: one d x d matrix, whatever n is. Sums in float64 keep about 16 - 2 log10(|mean|/std)
    digits of the covariance.

    Attributes:
        features: what is compared.
    """

    features: Features = pixels
    name: ClassVar[str] = "frechet"
    better: ClassVar[Better] = "lower"

    def summary(self, batch: Batch) -> Moments:
        """The first and second moments of the features."""
        values = self.features(batch).double()
        return Moments(len(values), values.sum(0), values.T @ values)

    def between(self, a: Moments, b: Moments) -> Score:
        """The distance, in squared units of the features.

        Raises:
            InputError: if a side has fewer than two items, or its sums have overflown.
        """
        a.check(b)
        value = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
        protocol = (
            f"Frechet distance, covariance over n-1, features {self.features.name} "
            f"(d={len(a.total)})"
        )
        return Score(value, min(a.n, b.n), None, protocol)
