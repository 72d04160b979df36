"""Mixtures of normals as data laws."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from sfumato import Dirac, InputError, Mixture, Normal, Posterior, Process, expand, random
from sfumato.laws import Space
from sfumato.sampling import Denoise
from sfumato.state import apply, items

from ..states import tensors
from .base import copies

__all__ = ["DiagonalMixture", "FullMixture"]


class DiagonalMixture:
    """A mixture of normals with independent numbers, on any floating state.

    Under an AFFINE process each component m with mean mu and standard deviation tau has x_t ~
    N(alpha mu, alpha^2 tau^2 + sigma^2), and the posterior is the mixture, weighted by how well the
    components explain x_t, of N(mu + g (x_t - alpha mu), tau^2 sigma^2 / (alpha^2 tau^2 + sigma^2))
    with g = alpha tau^2 / (alpha^2 tau^2 + sigma^2). It is a `Normal` for one component, else a
    `Mixture`.

    Args:
        like: one floating item, for its layout.
        means: mean of each component: floats, or tensors that broadcast with the trailing
            dimensions of the values.
        stds: standard deviations, likewise, positive.
        weights: of the components, summing to one; equal if not given.
        space: subspace of the data; means have to lie in it, and stds are floats.
    """

    def __init__(
        self,
        like: Any,
        means: Sequence[float | Tensor],
        stds: Sequence[float | Tensor],
        weights: Sequence[float] | None = None,
        space: Space | None = None,
    ) -> None:
        self.like = like
        self.parts = [
            (torch.as_tensor(m, dtype=torch.float64), torch.as_tensor(s, dtype=torch.float64))
            for m, s in zip(means, stds, strict=True)
        ]
        given = weights or [1 / len(means)] * len(means)
        self.weights = torch.tensor(given, dtype=torch.float64)
        self.space = space

    def _mixed(self, log_weights: Tensor, parts: Sequence[Normal]) -> Posterior:
        return parts[0] if len(parts) == 1 else Mixture(log_weights.softmax(1), parts)

    def _law(self, x: Any) -> Posterior:
        parts = [Normal(apply(x, torch.zeros_like) + m, s, self.space) for m, s in self.parts]
        return self._mixed(self.weights.log().expand(items(x), -1), parts)

    def sample(self, n: int, generator: Generator) -> Any:
        """Draw n items with the layout of `like`."""
        return self._law(copies(self.like, n)).sample(generator)

    def nll(self, x0: Any) -> Tensor:
        """(B,) exact -log p(x0)."""
        return self._law(x0).nll(x0)

    def denoiser(self, process: Process) -> Denoise:
        """Its exact denoiser; needs AFFINE and GAUSSIAN."""
        return functools.partial(self._posterior, process)

    def log_density(self, process: Process, x: Any, t: Tensor) -> Tensor:
        """(B,) exact log p_t(x)."""
        return self._explained(process, x, t).logsumexp(1)

    def score(self, process: Process, x: Any, t: Tensor) -> Any:
        """Gradient of `log_density` in x, by automatic differentiation."""
        x = apply(x, lambda v: v.detach().clone().requires_grad_())
        grads = iter(torch.autograd.grad(self.log_density(process, x, t).sum(), tensors(x)))
        return apply(x, lambda v: next(grads))

    def _scales(self, process: Any, x: Any, t: Tensor) -> tuple[Any, Any]:
        return expand(x, process.alpha(t)), expand(x, process.sigma(t))

    def _explained(self, process: Process, x: Any, t: Tensor) -> Tensor:
        """(B, M) log of weight times density at x of every component."""
        a, b = self._scales(process, x, t)
        each = []
        for mean, std in self.parts:
            centre = apply(x, torch.zeros_like) + a * mean
            each.append(-Normal(centre, (a * a * std * std + b * b).sqrt(), self.space).nll(x))
        return torch.stack(each, 1) + self.weights.log()

    def _posterior(self, process: Process, x: Any, t: Tensor) -> Posterior:
        a, b = self._scales(process, x, t)
        parts = []
        for mean, std in self.parts:
            total = a * a * std * std + b * b
            centre = (x - a * mean) * (a * std * std / total) + mean
            parts.append(Normal(centre, std * b / total.sqrt(), self.space))
        return self._mixed(self._explained(process, x, t), parts)


class FullMixture:
    """A mixture of normals with full covariances, on vectors (B, D).

    The denoiser returns the posterior mean, a `Dirac`. With one component the probability flow is
    known too: along every principal axis the deviation from alpha mu scales with the standard
    deviation (alpha^2 lambda + sigma^2)^(1/2).

    Args:
        means: (M, D).
        covariances: (M, D, D), positive definite.
        weights: of the components, summing to one; equal if not given.
    """

    def __init__(
        self, means: Tensor, covariances: Tensor, weights: Sequence[float] | None = None
    ) -> None:
        self.means = torch.as_tensor(means, dtype=torch.float64)
        self.variances, self.axes = torch.linalg.eigh(covariances.double())
        count = len(self.means)
        self.weights = torch.tensor(weights or [1 / count] * count, dtype=torch.float64)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """(n, D) draws."""
        pick = random.categorical(self.weights.expand(n, -1), generator)
        noise = random.normal(self.means[pick], generator) * self.variances[pick].sqrt()
        drawn: Tensor = self.means[pick] + (self.axes[pick] @ noise[..., None])[..., 0]
        return drawn

    def nll(self, x0: Tensor) -> Tensor:
        """(B,) exact -log p(x0)."""
        one, zero = x0.new_ones(1, 1), x0.new_zeros(1, 1)
        return -self._explained(x0, one, zero)[0].logsumexp(1)

    def denoiser(self, process: Process) -> Denoise:
        """Its exact denoiser; needs AFFINE and GAUSSIAN."""
        return functools.partial(self._mean, process)

    def log_density(self, process: Process, x: Tensor, t: Tensor) -> Tensor:
        """(B,) exact log p_t(x)."""
        return self._explained(x, *_scales(process, t))[0].logsumexp(1)

    def score(self, process: Process, x: Tensor, t: Tensor) -> Tensor:
        """(B, D) gradient of `log_density` in x, by automatic differentiation."""
        x = x.detach().clone().requires_grad_()
        (grad,) = torch.autograd.grad(self.log_density(process, x, t).sum(), [x])
        return grad

    def flow(self, process: Process, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Where the probability flow takes x from t to s; for a single component.

        Raises:
            InputError: if there are more.
        """
        if len(self.means) != 1:
            raise InputError("the flow of a mixture has no closed form; give one component")
        (a, b), (c, d) = _scales(process, t), _scales(process, s)
        growth = ((c * c * self.variances + d * d) / (a * a * self.variances + b * b)).sqrt()
        turned = (x - a * self.means) @ self.axes[0]
        moved: Tensor = c * self.means + (turned * growth) @ self.axes[0].T
        return moved

    def _explained(self, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M) log of weight times density, and (B, M, D) x along the axes of each component."""
        turned = torch.einsum("bmd,mde->bme", x[:, None] - a[..., None] * self.means, self.axes)
        total = a[..., None].square() * self.variances + b[..., None].square()
        each = turned.square() / total + total.log() + math.log(2 * math.pi)
        return self.weights.log() - 0.5 * each.sum(-1), turned

    def _mean(self, process: Process, x: Tensor, t: Tensor) -> Dirac:
        a, b = _scales(process, t)
        explained, turned = self._explained(x, a, b)
        total = a[..., None].square() * self.variances + b[..., None].square()
        gain = a[..., None] * self.variances / total
        centres = self.means + torch.einsum("bme,mde->bmd", turned * gain, self.axes)
        return Dirac((explained.softmax(1)[..., None] * centres).sum(1))


def _scales(process: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    """Scales alpha and sigma as (1, 1) or (B, 1)."""
    return process.alpha(t).reshape(-1, 1), process.sigma(t).reshape(-1, 1)
