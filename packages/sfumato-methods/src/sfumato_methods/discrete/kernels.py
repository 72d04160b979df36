"""Transition kernels of finite Markov chains, seen through a few exact operations.

A kernel never shows its K x K matrix T(s -> t): it gives rows, columns and products with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato import InputError, Unsupported, expand
from sfumato.state import apply

from .schedules import Keep, LinearKeep

__all__ = ["Kernel", "MaskReplace", "RankOne", "absorbing", "marginal", "uniform"]


class Kernel(nn.Module):
    """T(s -> t) on K classes. Ids are states of long, probabilities states (..., K) of float64."""

    classes: int
    mask: int | None = None
    """The class that data never has, if there is one."""
    absorbs: int | None = None
    """The class that every other one turns into, once and for all, and that nothing leaves."""

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

    def inflow(self, ids: Any, t: Tensor) -> Any:
        """Rates R_t(. -> ids) of the chain in continuous time; the entry at ids has no meaning.

        Raises:
            Unsupported: for a chain that jumps at fixed times.
        """
        raise Unsupported(f"{self} has no rates, since it jumps at fixed times. Use Ancestral()")

    def pull(self, p: Any, s: Tensor, t: Tensor) -> Any:
        """The inverse of `push`: the law at s that has become p by t; s < t < 1.

        Raises:
            Unsupported: where it is not known in O(K).
        """
        raise Unsupported(f"{self} has no inverse of T(s -> t) in O(K)")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


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
        top = int(law.argmax())
        self.absorbs = top if float(self.law[top]) == 1.0 else None
        self.mask = self.absorbs

    def extra_repr(self) -> str:
        return f"classes={self.classes}, keep={self.keep}"

    def _stay(self, ids: Any, s: Tensor, t: Tensor) -> Tensor:
        aligned: Tensor = expand(ids, _ratio(self.keep(s), self.keep(t), s == t))
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

    def pull(self, p: Any, s: Tensor, t: Tensor) -> Any:
        stay = self._stay(p, s, t)
        return apply(p, lambda v, a: (v - (1 - a) * self.law * v.sum(-1, keepdim=True)) / a, stay)

    def limit(self) -> Tensor:
        return self.law

    def kept(self, t: Tensor) -> Tensor:
        return self.keep(t)

    def inflow(self, ids: Any, t: Tensor) -> Any:
        rate = expand(ids, -self.keep.slope(t) / self.keep(t))

        def column(i: Tensor, r: Tensor) -> Tensor:
            return (r * self.law[i])[..., None].expand(*i.shape, self.classes)

        return apply(ids, column, rate)


class MaskReplace(Kernel):
    """Tokens are masked for good, or now and then replaced by any other; in O(K).

    q(x_t | x_0) = a e_{x_0} + b 1 + c e_m with a = keep(t), c = masked (1 - a), and b what is left
    for each of the `vocabulary` data classes (Gu et al. 2021, arXiv:2111.14822, eq. 7 and 8). The
    mask m is class `vocabulary`.

    Args:
        vocabulary: number of data classes.
        keep: schedule.
        masked: share of the noise that masks, in [0, 1); 0.9 as published.
    """

    def __init__(self, vocabulary: int, keep: Keep | None = None, masked: float = 0.9) -> None:
        super().__init__()
        if not 0 <= masked < 1:
            raise InputError(f"masked is a share in [0, 1), not {masked}; 1 is `absorbing`")
        self.classes, self.mask, self.vocabulary = vocabulary + 1, vocabulary, vocabulary
        self.keep: Keep = keep or LinearKeep()
        self.masked = masked
        law = torch.full((vocabulary + 1,), (1 - masked) / vocabulary, dtype=torch.float64)
        law[vocabulary] = masked
        self.register_buffer("law", law)
        self.law: Tensor

    def extra_repr(self) -> str:
        return f"vocabulary={self.vocabulary}, keep={self.keep}, masked={self.masked}"

    def _parts(self, like: Any, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(a, b, c) of T(s -> t), aligned with `like`."""
        before, after, rests = self.keep(s), self.keep(t), s == t
        a = _ratio(before, after, rests)
        clear = _ratio(1 - self.masked * (1 - before), 1 - self.masked * (1 - after), rests)
        b = (clear - a) / (self.classes - 1)
        return expand(like, a), expand(like, b), expand(like, 1 - clear)

    def rows(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        def row(i: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            on = F.one_hot(i, self.classes).double()
            data = a[..., None] * on[..., :-1] + b[..., None]
            out = torch.cat([data, c.expand(i.shape)[..., None]], -1)
            return torch.where((i == self.vocabulary)[..., None], on, out)

        return apply(ids, row, *self._parts(ids, s, t))

    def columns(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        def column(i: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            on = F.one_hot(i, self.classes).double()
            seen = (i == self.vocabulary)[..., None]
            data = torch.where(seen, c[..., None], a[..., None] * on[..., :-1] + b[..., None])
            return torch.cat([data, seen.double()], -1)

        return apply(ids, column, *self._parts(ids, s, t))

    def push(self, p: Any, s: Tensor, t: Tensor) -> Any:
        def pushed(v: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            total = v[..., :-1].sum(-1, keepdim=True)
            return torch.cat([a * v[..., :-1] + b * total, v[..., -1:] + c * total], -1)

        return apply(p, pushed, *self._parts(p, s, t))

    def pull(self, p: Any, s: Tensor, t: Tensor) -> Any:
        def pulled(v: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            total = v[..., :-1].sum(-1, keepdim=True) / (1 - c)
            return torch.cat([(v[..., :-1] - b * total) / a, v[..., -1:] - c * total], -1)

        return apply(p, pulled, *self._parts(p, s, t))

    def limit(self) -> Tensor:
        return self.law

    def kept(self, t: Tensor) -> Tensor:
        return self.keep(t)

    def inflow(self, ids: Any, t: Tensor) -> Any:
        slope, a = -self.keep.slope(t), self.keep(t)
        masks = self.masked * slope / (1 - self.masked * (1 - a))
        replaces = (slope / a - masks) / (self.classes - 1)

        def column(i: Tensor, to_mask: Tensor, to_data: Tensor) -> Tensor:
            seen = i == self.vocabulary
            data = torch.where(seen, to_mask, to_data)[..., None].expand(*i.shape, self.vocabulary)
            return F.pad(data, (0, 1))

        return apply(ids, column, expand(ids, masks), expand(ids, replaces))


def _ratio(before: Tensor, after: Tensor, rests: Tensor) -> Tensor:
    """after/before, 1 where time stands still, 0 where nothing was left before."""
    return torch.where(rests, 1.0, after / torch.where(before > 0, before, 1.0))


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
