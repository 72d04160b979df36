"""Kernels with structure: neighbours mix first. Their matrices are K x K, in float64.

`Exponential` is a chain in continuous time with symmetric rates, kept as its eigenvectors; `Steps`
is a chain that jumps at fixed times by matrices of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import InputError, expand
from sfumato.state import apply

from .kernels import Kernel

__all__ = ["Exponential", "Steps", "band", "information", "nearest", "ordinal"]


def information(matrix: Tensor, law: Tensor) -> Tensor:
    """I(x_t; x_0) in nats, from T(0 -> t) = `matrix` (..., K, K) and the law (K,) of x_0."""
    joint = law[:, None] * matrix
    independent = law[:, None] * joint.sum(-2, keepdim=True)
    ratio = torch.where(joint > 0, joint / torch.where(independent > 0, independent, 1.0), 1.0)
    return (joint * ratio.log()).sum((-2, -1))


class Exponential(Kernel):
    """T(s -> t) = expm((A(t) - A(s)) R), R symmetric, its rows summing to 0.

    A(t) is such that the share of information that is lost, 1 - I(x_t; x_0)/H(x_0), is t (Austin et
    al. 2021, arXiv:2107.03006, appendix A.2.5), up to the interpolation of a table of A.
    Operations cost O(K^2) for each element.

    Args:
        rates: (K, K) symmetric, not negative off the diagonal (which is ignored); the graph of its
            positive entries hangs together, so that the limit is uniform.
        law: (K,) frequencies of the data; None: uniform.

    Raises:
        InputError: for anything else.
    """

    def __init__(self, rates: Tensor, law: Tensor | Sequence[float] | None = None) -> None:
        super().__init__()
        rates = torch.as_tensor(rates, dtype=torch.float64)
        if rates.ndim != 2 or not torch.equal(rates, rates.T):
            raise InputError(f"rates must be a symmetric matrix, not one of {tuple(rates.shape)}")
        self.classes = len(rates)
        rates = rates - rates.diagonal().diag()
        if bool((rates < 0).any()):
            raise InputError("rates between different classes must not be negative")
        rates = rates - rates.sum(1).diag()
        values, vectors = torch.linalg.eigh(rates)
        still = int((values > -1e-10 * values.abs().max().clamp_min(1e-300)).sum())
        if still != 1 or self.classes < 2:
            raise InputError(
                f"the graph of the rates falls into {still} parts, so that noise would never mix "
                "them; connect them, for instance by more neighbours"
            )
        values[-1] = 0.0
        vectors[:, -1] = self.classes**-0.5
        if law is None:
            law = torch.ones(self.classes)
        law = torch.as_tensor(law, dtype=torch.float64)
        if law.shape != values.shape or not bool((law >= 0).all()) or not float(law.sum()) > 0:
            raise InputError(f"law must be {self.classes} frequencies, not negative and not all 0")
        for name, value in (("rates", rates), ("values", values), ("vectors", vectors)):
            self.register_buffer(name, value)
        self.rates: Tensor
        self.values: Tensor
        self.vectors: Tensor
        lost, ages = self._table(law / law.sum())
        self.register_buffer("lost", lost)
        self.register_buffer("ages", ages)
        self.lost: Tensor
        self.ages: Tensor

    def extra_repr(self) -> str:
        return f"classes={self.classes}"

    def _table(self, law: Tensor) -> tuple[Tensor, Tensor]:
        """Knots of A as a function of -log(1 - t), in which it is linear towards the end."""
        entropy = -float((law[law > 0] * law[law > 0].log()).sum())
        slow, fast = float(-self.values[-2]), float(-self.values[0])
        ages = torch.logspace(
            math.log10(1e-5 / fast), math.log10(12 / slow), 160, dtype=torch.float64
        )
        kept = torch.stack([information(self._matrix(age), law) for age in ages]) / entropy
        keep = (kept > 1e-8) & (kept < 1)
        lost = -kept[keep].log()
        zero = torch.zeros(1, dtype=torch.float64)
        return torch.cat([zero, lost]), torch.cat([zero, ages[keep]])

    def _matrix(self, age: Tensor) -> Tensor:
        return (self.vectors * (self.values * age).exp()) @ self.vectors.T

    def _place(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(A, dA/d(-log(1 - t)), -log(1 - t))."""
        lost, ages = self.lost.to(t.device), self.ages.to(t.device)
        u = -torch.log1p(-t)
        at = torch.searchsorted(lost, u.contiguous(), right=True).clamp(1, len(lost) - 1)
        slope = (ages[at] - ages[at - 1]) / (lost[at] - lost[at - 1])
        return ages[at - 1] + slope * (u - lost[at - 1]), slope, u

    def _decay(self, like: Any, s: Tensor, t: Tensor) -> Any:
        """exp((A(t) - A(s)) values), (..., K), aligned with the elements of `like`."""
        age = torch.where(s == t, 0.0, self._place(t)[0] - self._place(s)[0])
        exponent = torch.where(self.values == 0, 0.0, self.values * expand(like, age)[..., None])
        return exponent.exp()

    def rows(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        rests = expand(ids, s == t)

        def row(i: Tensor, decay: Tensor, still: Tensor) -> Tensor:
            out = ((self.vectors[i] * decay) @ self.vectors.T).clamp_min(0)
            return torch.where(still[..., None], F.one_hot(i, self.classes).double(), out)

        return apply(ids, row, self._decay(ids, s, t), rests)

    def columns(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        return self.rows(ids, s, t)

    def push(self, p: Any, s: Tensor, t: Tensor) -> Any:
        def pushed(v: Tensor, decay: Tensor, still: Tensor) -> Tensor:
            out = (((v @ self.vectors) * decay[..., 0, :]) @ self.vectors.T).clamp_min(0)
            return torch.where(still, v, out)

        return apply(p, pushed, self._decay(p, s, t), expand(p, s == t))

    def limit(self) -> Tensor:
        return torch.full_like(self.values, 1 / self.classes)

    def kept(self, t: Tensor) -> Tensor:
        return 1 - t

    def inflow(self, ids: Any, t: Tensor) -> Any:
        speed = expand(ids, self._place(t)[1] / (1 - t))
        return apply(ids, lambda i, c: c[..., None] * self.rates[i], speed)


def band(classes: int, width: int, law: Tensor | Sequence[float] | None = None) -> Exponential:
    """Jumps to any of the `width` nearest values on each side, all at one rate.

    Args:
        classes: number of ordered values K.
        width: how far a jump reaches, at least 1.
        law: frequencies of the data, see `Exponential`.
    """
    place = torch.arange(classes)
    near = (place[:, None] - place).abs() <= width
    return Exponential(near.double() / (2 * width), law)


def nearest(
    embeddings: Tensor, neighbours: int, law: Tensor | Sequence[float] | None = None
) -> Exponential:
    """Jumps between neighbours in a space of embeddings (Austin et al. 2021, appendix A.2.5).

    R = (G + G^T)/(2k) off the diagonal, with G_ij = 1 where j is one of the k nearest of i.

    Args:
        embeddings: (K, D), one row a class.
        neighbours: k.
        law: frequencies of the data, see `Exponential`.

    Raises:
        InputError: if there are no k others, or the graph falls apart.
    """
    classes = len(embeddings)
    if not 1 <= neighbours < classes:
        raise InputError(f"{neighbours} neighbours were asked for among {classes} classes")
    gap = torch.cdist(embeddings.double(), embeddings.double()).fill_diagonal_(torch.inf)
    near = gap.topk(neighbours, largest=False).indices
    graph = torch.zeros(classes, classes, dtype=torch.float64).scatter_(1, near, 1.0)
    return Exponential((graph + graph.T) / (2 * neighbours), law)


class Steps(Kernel):
    """A chain of T jumps, the k-th by the matrix Q_k at time k/T.

    T(s -> t) is the product of the matrices between, so that times off the steps are exact as well.
    Products from 0 are kept, (T + 1) x K x K numbers; others are formed when asked for.

    Args:
        matrices: (T, K, K), rows summing to one, entries not negative.

    Raises:
        InputError: for anything else, or if the chain remembers where it began.
    """

    def __init__(self, matrices: Tensor) -> None:
        super().__init__()
        steps = torch.as_tensor(matrices, dtype=torch.float64)
        if steps.ndim != 3 or steps.shape[1] != steps.shape[2] or len(steps) == 0:
            raise InputError(f"matrices are of shape (T, K, K), not {tuple(steps.shape)}")
        if bool((steps < 0).any()) or float((steps.sum(-1) - 1).abs().max()) > 1e-6:
            raise InputError("each row of each matrix must be probabilities that sum to 1")
        steps = steps / steps.sum(-1, keepdim=True)
        self.classes = steps.shape[-1]
        whole = [torch.eye(self.classes, dtype=torch.float64)]
        for step in steps:
            whole.append(whole[-1] @ step)
        end = whole[-1].mean(0)
        if float((whole[-1] - end).abs().sum(1).max()) > 0.02:
            raise InputError(
                f"after {len(steps)} steps the chain still tells where it began; the last law must "
                "not depend on the start (a total variation of 0.01 is accepted)"
            )
        even = torch.full_like(end, 1 / self.classes)
        told = torch.stack([information(one, even) for one in whole]) / math.log(self.classes)
        for name, value in (("steps", steps), ("whole", torch.stack(whole)), ("told", told)):
            self.register_buffer(name, value)
        self.steps: Tensor
        self.whole: Tensor
        self.told: Tensor

    def extra_repr(self) -> str:
        return f"steps={len(self.steps)}, classes={self.classes}"

    def _count(self, t: Tensor) -> Tensor:
        """Jumps made by time t."""
        return (t * len(self.steps) + 1e-6).floor().long()

    def _between(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The matrices (P, K, K) of all different pairs of times, and which of them is where."""
        pairs = torch.stack([self._count(s + 0 * t), self._count(t + 0 * s)])
        every, which = torch.unique(pairs.reshape(2, -1), dim=1, return_inverse=True)
        out = []
        for a, b in every.T.tolist():
            product = self.whole[b] if a == 0 else self.whole[0]
            for step in self.steps[a:b] if a else ():
                product = product @ step
            out.append(product)
        return torch.stack(out), which.reshape(pairs.shape[1:])

    def rows(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        matrices, which = self._between(s, t)
        return apply(ids, lambda i, w: matrices[w, i], expand(ids, which))

    def columns(self, ids: Any, s: Tensor, t: Tensor) -> Any:
        matrices, which = self._between(s, t)
        return apply(ids, lambda i, w: matrices.mT[w, i], expand(ids, which))

    def push(self, p: Any, s: Tensor, t: Tensor) -> Any:
        matrices, which = self._between(s, t)
        if len(matrices) == 1:
            return apply(p, lambda v: v @ matrices[0])

        def pushed(v: Tensor, w: Tensor) -> Tensor:
            out = torch.empty_like(v)
            own = w[..., 0].expand(v.shape[:-1])
            for k, matrix in enumerate(matrices):
                out[own == k] = v[own == k] @ matrix
            return out

        return apply(p, pushed, expand(p, which))

    def limit(self) -> Tensor:
        return self.whole[-1].mean(0)

    def kept(self, t: Tensor) -> Tensor:
        return self.told.to(t.device)[self._count(t)]


def ordinal(classes: int, betas: Tensor | Sequence[float]) -> Steps:
    """Discretised Gaussian noise on K ordered values (Austin et al. 2021, appendix A.2.3).

    Q_ij = exp(-4 (i - j)^2/((K - 1)^2 b)) off the diagonal, divided by its sum over all offsets
    from -(K - 1) to K - 1; the diagonal takes what is left. The limit is uniform.

    Args:
        classes: K, at least 2.
        betas: (T,) variances b of the steps; published is linspace(1e-4, 0.02, 1000) for K = 256.
    """
    if classes < 2:
        raise InputError(f"ordered values are at least 2, not {classes}")
    b = torch.as_tensor(betas, dtype=torch.float64)[:, None]
    offset = torch.arange(1 - classes, classes, dtype=torch.float64)
    weight = torch.softmax(-4 * offset.square() / ((classes - 1) ** 2 * b), -1)
    place = torch.arange(classes)
    matrices = weight[:, place[:, None] - place + classes - 1]
    matrices = matrices - torch.diag_embed(matrices.diagonal(dim1=1, dim2=2))
    return Steps(matrices + torch.diag_embed(1 - matrices.sum(-1)))
