"""Laws on finitely many states or classes, and independent laws on the fields of a state."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sfumato import (
    Categorical,
    Dirac,
    Fields,
    InputError,
    Joint,
    Mixture,
    Posterior,
    Process,
    expand,
    random,
)
from sfumato.sampling import Denoise
from sfumato.state import Time, apply, item_sum, items, select

from ..states import tensors
from .base import Target, copies

__all__ = ["Enumerated", "Factorised", "Together"]


class Enumerated:
    """A law on finitely many states, for any process whose marginal has a density.

    Bayes' rule over the support: p(x0 | x_t) is proportional to p(x0) q(x_t | x0). For ids the
    denoiser returns the class probabilities of every element (the whole posterior only where there
    is one element); for floating states the mixture of points.

    Args:
        support: S states, as the items of one state of equal layouts, all different.
        probs: (S,) probabilities.
    """

    def __init__(self, support: Any, probs: Sequence[float]) -> None:
        self.support = support
        self.probs = torch.tensor(probs, dtype=torch.float64)
        if items(support) != len(self.probs):
            raise InputError(f"{items(support)} states were given with {len(probs)} probabilities")

    def sample(self, n: int, generator: Generator) -> Any:
        """Draw n items."""
        return select(self.support, random.categorical(self.probs.expand(n, -1), generator))

    def _points(self, count: int) -> list[Any]:
        index = range(len(self.probs))
        return [select(self.support, torch.full((count,), i, dtype=torch.long)) for i in index]

    def nll(self, x0: Any) -> Tensor:
        """(B,) exact -log p(x0); infinite outside the support."""
        differ = [
            item_sum(apply(x0, lambda u, v: (u != v).double(), point))
            for point in self._points(items(x0))
        ]
        hit = torch.stack(differ, 1) == 0
        return -torch.where(hit, self.probs, 0.0).sum(1).log()

    def denoiser(self, process: Process) -> Denoise:
        """Its exact denoiser."""
        return functools.partial(self._posterior, process)

    def log_density(self, process: Process, x: Any, t: Time) -> Tensor:
        """(B,) exact log p_t(x)."""
        return self._explained(process, x, t).logsumexp(1)

    def _explained(self, process: Process, x: Any, t: Time) -> Tensor:
        """(B, S) log of the joint probability of each state and x."""
        points = self._points(items(x))
        each = [-process.marginal(point, t).nll(x).double() for point in points]
        return torch.stack(each, 1) + self.probs.log()

    def _posterior(self, process: Process, x: Any, t: Time) -> Posterior:
        weights, points = self._explained(process, x, t).softmax(1), self._points(items(x))
        if any(v.is_floating_point() for v in tensors(x)):
            return Mixture(weights, [Dirac(point) for point in points])
        classes = _classes(process, x)
        parts = [apply(point, lambda i: F.one_hot(i, classes).double()) for point in points]
        weighted = [p * expand(p, w) for p, w in zip(parts, weights.unbind(1), strict=True)]
        return Categorical(probs=sum(weighted[1:], start=weighted[0]))


def _classes(process: Process, x: Any) -> int:
    prior = process.prior(x)
    assert isinstance(prior, Categorical)
    return tensors(prior.probs)[0].shape[-1]


class Factorised:
    """Independent ids with known probabilities, for any process on ids that noises them one by one.

    Args:
        like: one item of ids, for its layout.
        probs: (K,), or (..., K) to broadcast with the elements: probabilities of the data classes.
    """

    def __init__(self, like: Any, probs: Tensor | Sequence[float]) -> None:
        self.like = like
        self.probs = torch.as_tensor(probs, dtype=torch.float64)

    def _law(self, x: Any) -> Categorical:
        shape = self.probs.shape[-1:]
        return Categorical(probs=apply(x, lambda i: self.probs.expand(*i.shape, *shape)))

    def sample(self, n: int, generator: Generator) -> Any:
        """Draw n items."""
        return self._law(copies(self.like, n)).sample(generator)

    def nll(self, x0: Any) -> Tensor:
        """(B,) exact -log p(x0)."""
        return self._law(x0).nll(x0)

    def denoiser(self, process: Process) -> Denoise:
        """Its exact denoiser."""
        return functools.partial(self._posterior, process)

    def _posterior(self, process: Process, x: Any, t: Time) -> Categorical:
        extra = _classes(process, x) - self.probs.shape[-1]
        seen = [
            self._seen(process, apply(x, lambda i, k=k: torch.full_like(i, k)), x, t)
            for k in range(self.probs.shape[-1])
        ]

        def bayes(ids: Tensor, *columns: Tensor) -> Tensor:
            joint = self.probs * torch.stack(columns, -1)
            return F.pad(joint / joint.sum(-1, keepdim=True), (0, extra))

        return Categorical(probs=apply(x, bayes, *seen))

    @staticmethod
    def _seen(process: Process, x0: Any, x: Any, t: Time) -> Any:
        """q(x | x0) of every element."""
        law = process.marginal(x0, t)
        assert isinstance(law, Categorical)
        return apply(law.probs, lambda p, i: p.gather(-1, i[..., None])[..., 0], x)


class Together:
    """Independent targets on the fields of a state, for a `Product` with the same fields.

    Args:
        parts: target of each field.
    """

    def __init__(self, parts: Mapping[str, Target]) -> None:
        self.parts = dict(parts)

    def sample(self, n: int, generator: Generator) -> Fields:
        """Draw n items."""
        return Fields({k: part.sample(n, generator) for k, part in self.parts.items()})

    def nll(self, x0: Any) -> Tensor:
        """(B,) exact -log p(x0)."""
        return torch.stack([part.nll(x0[k]) for k, part in self.parts.items()]).sum(0)

    def denoiser(self, process: Any) -> Denoise:
        """Its exact denoiser."""
        each = {k: part.denoiser(process.part(k)) for k, part in self.parts.items()}

        def posterior(x: Any, t: Any) -> Joint:
            own = t if isinstance(t, Mapping) else dict.fromkeys(each, t)
            return Joint({k: denoise(x[k], own[k]) for k, denoise in each.items()})

        return posterior
