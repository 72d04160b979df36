"""Transition kernels of finite Markov chains, seen through a few exact operations.

A kernel never shows its K x K matrix T(s -> t): it gives rows, columns and products with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato import InputError, expand
from sfumato.state import apply

__all__ = [
    "CosineKeep",
    "Keep",
    "Kernel",
    "LinearKeep",
    "RankOne",
    "absorbing",
    "marginal",
    "uniform",
]


class Keep(Protocol):
    """Probability that a token has not been resampled by time t: 1 at t = 0, 0 at t = 1."""

    def __call__(self, t: Tensor) -> Tensor:
        """float64 to float64."""


@dataclass(frozen=True)
class LinearKeep:
    """1 - t (the log-linear noise of Lou et al. 2023, arXiv:2310.16834)."""

    def __call__(self, t: Tensor) -> Tensor:
        return 1 - t


@dataclass(frozen=True)
class CosineKeep:
    """1 - cos(pi/2 (1 - t)) (Sahoo et al. 2024, arXiv:2406.07524, appendix E.1)."""

    def __call__(self, t: Tensor) -> Tensor:
        return 2 * torch.sin(0.25 * torch.pi * (1 - t)).square()


class Kernel(nn.Module):
    """T(s -> t) on K classes. Ids are states of long, probabilities states (..., K) of float64."""

    classes: int

    def rows(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        """q(x_t = . | x_s = ids)."""
        raise NotImplementedError

    def columns(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        """q(x_t = ids | x_s = .)."""
        raise NotImplementedError

    def push(self, p: Any, s: Tensor, t: Tensor) -> Any:
        """P T(s -> t): where the (unnormalised) law p at s has gone by t."""
        raise NotImplementedError

    def limit(self) -> Tensor:
        """(K,) law at t = 1, whatever the start."""
        raise NotImplementedError

    def kept(self, t: Tensor) -> Tensor:
        """Share of the information about x_0 left at t, for the clock of networks."""
        raise NotImplementedError


class RankOne(Kernel):
    """T(s -> t) = a I + (1 - a) 1 pi^T with a = keep(t)/keep(s): every operation in O(K).

    Uniform, absorbing and marginal noise (Austin et al. 2021, arXiv:2107.03006; Vignac et al. 2022,
    arXiv:2209.14734) differ only in pi.

    Args:
        law: (K,) probabilities pi.
        keep: schedule.
    """

    def __init__(self, law: Tensor, keep: Keep | None = None) -> None:
        super().__init__()
        law = torch.as_tensor(law, dtype=torch.float64)
        total = float(law.sum())
        if law.ndim != 1 or not bool((law >= 0).all()) or abs(total - 1) > 1e-6:
            raise InputError(f"the limit law must be probabilities that sum to 1, not to {total:g}")
        self.classes = len(law)
        self.keep: Keep = keep or LinearKeep()
        self.register_buffer("law", law / total)
        self.law: Tensor

    def extra_repr(self) -> str:
        return f"classes={self.classes}, keep={self.keep}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    @property
    def absorbs(self) -> int | None:
        """The id that all mass ends in, if there is one."""
        top = int(self.law.argmax())
        return top if float(self.law[top]) == 1.0 else None

    def _stay(self, ids: Any, s: Tensor, t: Tensor) -> Tensor:
        start = self.keep(s)
        stay = torch.where(s == t, 1.0, self.keep(t) / torch.where(start > 0, start, 1.0))
        aligned: Tensor = expand(ids, stay)
        return aligned

    def rows(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        stay = self._stay(ids, s, t)

        def row(i: Tensor, a: Tensor) -> Tensor:
            a = a[..., None]
            return a * F.one_hot(i, self.classes) + (1 - a) * self.law

        return apply(ids, row, stay)

    def columns(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        stay = self._stay(ids, s, t)

        def column(i: Tensor, a: Tensor) -> Tensor:
            a = a[..., None]
            return a * F.one_hot(i, self.classes) + (1 - a) * self.law[i][..., None]

        return apply(ids, column, stay)

    def push(self, p: Any, s: Tensor, t: Tensor) -> Any:
        stay = self._stay(p, s, t)
        return apply(p, lambda v, a: a * v + (1 - a) * self.law * v.sum(-1, keepdim=True), stay)

    def limit(self) -> Tensor:
        return self.law

    def kept(self, t: Tensor) -> Tensor:
        return self.keep(t)


def uniform(classes: int, keep: Keep | None = None) -> RankOne:
    """Noise that replaces a token by any of the K classes with equal probability."""
    return RankOne(torch.full((classes,), 1 / classes, dtype=torch.float64), keep)


def absorbing(vocabulary: int, keep: Keep | None = None) -> RankOne:
    """Noise that masks: ids 0..vocabulary-1 are data, id `vocabulary` is the mask."""
    law = torch.zeros(vocabulary + 1, dtype=torch.float64)
    law[vocabulary] = 1
    return RankOne(law, keep)


def marginal(law: Tensor | Sequence[float], keep: Keep | None = None) -> RankOne:
    """Noise that replaces a token by a draw from the frequencies of the training data."""
    return RankOne(torch.as_tensor(law, dtype=torch.float64), keep)
