"""Laws: the distributions that processes and denoisers return.

Every law draws (`sample`) and most have a density (`nll`, nats summed per item). A `Posterior` is
the law over clean data that a denoiser returns: it also has a `mean` and a training `loss`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any, Protocol

import torch
from torch import Tensor

from . import random
from .errors import Unsupported
from .random import Source
from .state import Fields, apply, axpy, expand, item_count, item_sum, where

__all__ = [
    "Categorical", "Dirac", "Implicit", "Joint", "Law", "Mixture", "Normal", "Posterior", "Space",
    "kl",
]  # fmt: skip

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Law:
    """A distribution over states."""

    __slots__ = ()

    def sample(self, generator: Source) -> Any:
        """One draw for each item."""
        raise Unsupported(f"{type(self).__name__} cannot be sampled")

    def nll(self, x: Any) -> Tensor:
        """(B,) minus log density (or log probability) of `x`, in nats summed per item."""
        raise Unsupported(f"{type(self).__name__} has no density")


class Posterior(Law):
    """A law over clean data, given a noisy state and a time: what a denoiser returns."""

    __slots__ = ()

    @property
    def mean(self) -> Any:
        """Expected clean state; for categorical data, the class probabilities."""
        raise Unsupported(f"{type(self).__name__} has no mean in closed form")

    def loss(self, target: Any) -> Tensor:
        """(B,) training signal: mean over the valid elements of each item; `nll` by default."""
        return self.nll(target) / _elements(target)


class Space(Protocol):
    """A linear subspace that noise lives in (zero centre of mass, symmetric matrices)."""

    def normal(self, like: Any, generator: Source) -> Any:
        """Standard normal noise of the subspace."""

    def project(self, x: Any) -> Any:
        """Orthogonal projection onto the subspace."""

    def dims(self, x: Any) -> Tensor:
        """(B,) dimension of the subspace for each item."""


class Dirac(Posterior):
    """All mass at one state; as a posterior, a point estimate trained by squared error."""

    __slots__ = ("_mean",)

    def __init__(self, mean: Any) -> None:
        self._mean = mean

    @property
    def mean(self) -> Any:
        return self._mean

    def sample(self, generator: Source) -> Any:
        return self._mean

    def nll(self, x: Any) -> Tensor:
        raise Unsupported(
            "Dirac has no density; for a likelihood let the denoiser return Normal(mean, std)"
        )

    def loss(self, target: Any) -> Tensor:
        error = target - self._mean
        return item_sum(error * error) / _elements(target)


class Normal(Posterior):
    """Independent normals.

    Args:
        mean: state.
        std: float, a tensor from `expand`, or a state; standard deviations, 0 for no noise.
        space: subspace that the noise lives in; the std is then one number per item or row.
    """

    __slots__ = ("_mean", "space", "std")

    def __init__(self, mean: Any, std: Any, space: Space | None = None) -> None:
        self._mean = mean
        self.std = std
        self.space = space

    @property
    def mean(self) -> Any:
        return self._mean

    def sample(self, generator: Source) -> Any:
        if type(self.std) is float and self.std == 0.0:
            return self._mean
        draw = random.normal if self.space is None else self.space.normal
        noise = draw(self._mean, generator)
        if type(self.std) is float:
            return axpy(self.std, noise, self._mean)
        return self._mean + noise * self.std

    def _log_std(self) -> Any:
        return apply(filled(self._mean, self.std), torch.log)

    def nll(self, x: Any) -> Tensor:
        if type(self.std) is float and self.std == 0.0:
            return Dirac(self._mean).nll(x)
        z = (x - self._mean) / self.std
        if self.space is None:
            return item_sum(z * z * 0.5 + self._log_std() + _full(x, _HALF_LOG_2PI))
        log_std = item_sum(self._log_std()) / _elements(x)
        return item_sum(z * z) * 0.5 + self.space.dims(x) * (log_std + _HALF_LOG_2PI)


def _elements(x: Any) -> Tensor:
    """(B,) number of valid elements to divide by; an item without rows sums to 0 over 1."""
    return item_count(x).clamp_min(1)


def filled(like: Any, value: Any) -> Any:
    """`value` (a float, an expanded tensor, a state) at every element of a state like `like`."""
    return apply(like, torch.zeros_like) + value


def _full(like: Any, value: float) -> Any:
    return apply(like, lambda v: torch.full_like(v, value))


class Categorical(Posterior):
    """Independent choices among K classes at every element.

    Exactly one of the two is given; the other is computed when asked for, in float64.

    Args:
        probs: state (..., K) of probabilities that sum to one.
        logits: state (..., K) of unnormalised log probabilities.
    """

    __slots__ = ("_logits", "_probs")

    def __init__(self, *, probs: Any = None, logits: Any = None) -> None:
        if (probs is None) == (logits is None):
            raise TypeError("Categorical takes either probs or logits")
        self._probs, self._logits = probs, logits

    @property
    def probs(self) -> Any:
        """Probabilities (..., K), float64 where they come from logits."""
        if self._probs is None:
            self._probs = apply(self._logits, lambda v: v.double().softmax(-1))
        return self._probs

    @property
    def logits(self) -> Any:
        """Normalised log probabilities (..., K)."""
        if self._logits is None:
            return apply(self._probs, torch.log)
        return apply(self._logits, lambda v: v.log_softmax(-1))

    @property
    def mean(self) -> Any:
        return self.probs

    def sample(self, generator: Source) -> Any:
        return random.categorical(self.probs, generator)

    def nll(self, x: Any) -> Tensor:
        return item_sum(apply(self.logits, lambda p, i: -p.gather(-1, i[..., None])[..., 0], x))


class Mixture(Posterior):
    """A mixture of laws, its weights given per item.

    Args:
        probs: (B, M) weights that sum to one.
        parts: M laws.
    """

    __slots__ = ("parts", "probs")

    def __init__(self, probs: Tensor, parts: Sequence[Any]) -> None:
        self.probs, self.parts = probs, tuple(parts)

    @property
    def mean(self) -> Any:
        first, *rest = (
            p.mean * expand(p.mean, w)
            for w, p in zip(self.probs.unbind(1), self.parts, strict=True)
        )
        return sum(rest, start=first)

    def sample(self, generator: Source) -> Any:
        pick = random.categorical(self.probs, generator)
        x, *rest = (part.sample(generator) for part in self.parts)
        for m, other in enumerate(rest, start=1):
            x = where(expand(x, pick == m), other, x)
        return x

    def nll(self, x: Any) -> Tensor:
        each = torch.stack([part.nll(x) for part in self.parts], 1)
        return -(self.probs.log() - each).logsumexp(1)


class Joint(Posterior):
    """Independent laws, one for each field of a state."""

    __slots__ = ("parts",)

    def __init__(self, parts: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        self.parts = {**(parts or {}), **named}

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    @property
    def mean(self) -> Fields:
        return Fields({k: q.mean for k, q in self.parts.items()})

    def sample(self, generator: Source) -> Fields:
        return Fields({k: q.sample(generator) for k, q in self.parts.items()})

    def nll(self, x: Any) -> Tensor:
        return torch.stack([q.nll(x[k]) for k, q in self.parts.items()]).sum(0)

    def loss(self, target: Any) -> Tensor:
        """(B,) sum of the losses of the parts, each a mean over its own elements."""
        return torch.stack([q.loss(target[k]) for k, q in self.parts.items()]).sum(0)


class Implicit(Posterior):
    """A law known only by its draws.

    Args:
        draw: maps a generator (or streams) to a state.
    """

    __slots__ = ("_draw",)

    def __init__(self, draw: Callable[[Source], Any]) -> None:
        self._draw = draw

    def sample(self, generator: Source) -> Any:
        return self._draw(generator)


@singledispatch
def kl(p: Any, q: Any) -> Tensor:
    """(B,) Kullback-Leibler divergence KL(p || q) in nats per item.

    Raises:
        Unsupported: where no closed form is registered for the pair.
    """
    raise Unsupported(
        f"KL({type(p).__name__} || {type(q).__name__}) has no closed form here; accepted are two "
        "Normal, two Categorical, two Dirac or two Joint laws"
    )


@kl.register
def _(p: Normal, q: Any) -> Tensor:
    if not isinstance(q, Normal) or p.space is not q.space:
        return kl.dispatch(object)(p, q)
    gap = p.mean - q.mean
    a, b = filled(p.mean, p.std), filled(p.mean, q.std)
    ratio = a / b
    if p.space is None:
        move = gap / b
        log = apply(ratio, torch.log)
        return item_sum((ratio * ratio + move * move) * 0.5 - log - _full(p.mean, 0.5))
    spread = item_sum(ratio * ratio * 0.5 - apply(ratio, torch.log)) / _elements(p.mean) - 0.5
    return item_sum(gap * gap / (b * b)) * 0.5 + p.space.dims(p.mean) * spread


@kl.register
def _(p: Categorical, q: Any) -> Tensor:
    if not isinstance(q, Categorical):
        return kl.dispatch(object)(p, q)

    def cross(a: Tensor, b: Tensor) -> Tensor:  # 0 log 0 = 0, also in its gradient
        some = a > 0
        safe = torch.where(some, a, 1.0)
        return torch.where(some, safe * (safe.log() - torch.where(some, b, 1.0).log()), 0.0).sum(-1)

    return item_sum(apply(p.probs, cross, q.probs))


@kl.register
def _(p: Dirac, q: Any) -> Tensor:
    if not isinstance(q, Dirac):
        return kl.dispatch(object)(p, q)
    same = item_sum(apply(p.mean, lambda a, b: (a != b).double(), q.mean)) == 0
    return torch.where(same, 0.0, torch.inf).double()


@kl.register
def _(p: Joint, q: Any) -> Tensor:
    if not isinstance(q, Joint):
        return kl.dispatch(object)(p, q)
    return torch.stack([kl(law, q[k]).double() for k, law in p.parts.items()]).sum(0)
