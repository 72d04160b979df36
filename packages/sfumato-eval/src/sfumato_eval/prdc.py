"""Precision, recall, density and coverage: which part of which law lies where the other one is."""

from __future__ import annotations

__all__ = ["PRDC", "Manifolds", "manifolds", "radii"]

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from sfumato import Batch, InputError

from .features import Features, pixels
from .kernels import squared_distances
from .score import Better, Score
from .sketch import MOST, Vectors, counted

Headline: TypeAlias = Literal["precision", "recall", "density", "coverage"]
_BLOCK = 1024


@dataclass(frozen=True)
class Manifolds:
    """How the balls around the items of one side hold the items of the other.

    Attributes:
        precision: share of samples inside any ball of a real item, in [0, 1].
        recall: share of real items inside any ball of a sample, in [0, 1].
        density: balls of real items that a sample lies in, over k; about 1 for equal laws.
        coverage: share of real items whose ball holds a sample, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def radii(rows: Tensor, k: int, block: int = _BLOCK) -> Tensor:
    """(n,) squared distance of each row to its k-th nearest other row, float64.

    Args:
        rows: (n, d) vectors, n above k.
        k: which neighbour, at least 1.
        block: rows compared at a time, which bounds the memory.
    """
    blocks = [part.double() for part in torch.split(rows, block)]
    found = []
    for i, u in enumerate(blocks):
        best = u.new_empty(len(u), 0)
        for j, v in enumerate(blocks):
            gaps = _gaps(u, v)
            if i == j:
                gaps.fill_diagonal_(torch.inf)
            best = torch.cat([best, gaps], 1)
            best = best.topk(min(k, best.shape[1]), largest=False).values
        found.append(best.amax(1))
    return torch.cat(found)


def manifolds(samples: Tensor, real: Tensor, k: int, block: int = _BLOCK) -> Manifolds:
    """Precision, recall, density and coverage, exactly, in blocks.

    The ball of an item reaches to its k-th nearest neighbour on its own side, border included.

    Args:
        samples: (n, d) vectors, n above k.
        real: (m, d) vectors, m above k.
        k: which neighbour.
        block: rows of each side compared at a time, which bounds the memory.

    Raises:
        InputError: if a side has no more than k items.
    """
    if min(len(samples), len(real)) <= k:
        raise InputError(
            f"balls to the {k}-th neighbour need at least {k + 1} items on each side, not "
            f"{len(samples)} and {len(real)}"
        )
    # products lose digits far from the origin; a whole number keeps integers exact
    centre = real.double().mean(0).round()
    samples, real = samples.double() - centre, real.double() - centre
    reach_samples, reach_real = radii(samples, k, block), radii(real, k, block)
    balls = torch.zeros(len(samples), dtype=torch.long)  # of real items, around each sample
    reached = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for i in range(0, len(samples), block):
        for j in range(0, len(real), block):
            rows, columns = slice(i, i + block), slice(j, j + block)
            gaps = _gaps(samples[rows], real[columns])
            inside = gaps <= reach_real[columns]
            balls[rows] += inside.sum(1)
            covered[columns] |= inside.any(0)
            reached[columns] |= (gaps <= reach_samples[rows, None]).any(0)
    return Manifolds(
        precision=float((balls > 0).double().mean()),
        recall=float(reached.double().mean()),
        density=float(balls.double().mean()) / k,
        coverage=float(covered.double().mean()),
    )


def _gaps(u: Tensor, v: Tensor) -> Tensor:
    """Squared distances; what is zero up to the rounding of the product is zero."""
    gaps = squared_distances(u, v)
    noise = 1e-13 * (u.square().sum(1)[:, None] + v.square().sum(1))
    return gaps.masked_fill_(gaps <= noise, 0)


@dataclass(frozen=True)
class PRDC:
    """Precision, recall, density and coverage in features: one as the value, the rest as parts.

    Precision and recall of Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing
    Generative Models", 2019, arXiv:1904.06991; density and coverage of Naeem et al., "Reliable
    Fidelity and Diversity Metrics for Generative Models", 2020, arXiv:2002.09797. Precision and
    density fall where samples lie off the data; recall and coverage fall where the data is not
    reached. For equal laws and equal n the expected coverage is 1 - 2^-k, nearly.

    Attributes:
        features: where distances are taken.
        k: the balls reach to the k-th nearest neighbour.
        headline: which of the four is the value.
        most: items kept of each side, see `Vectors`; None keeps all.
    """

    features: Features = pixels
    k: int = 5
    headline: Headline = "coverage"
    most: int | None = MOST
    better: ClassVar[Better] = "higher"

    def __post_init__(self) -> None:
        if self.k < 1 or self.headline not in Manifolds.__dataclass_fields__:
            raise InputError(
                f"PRDC takes k >= 1 and the headline {', '.join(Manifolds.__dataclass_fields__)}, "
                f"not k={self.k} and headline={self.headline!r}"
            )

    @property
    def name(self) -> str:
        """The headline."""
        return self.headline

    def summary(self, batch: Batch) -> Vectors:
        """The features of each item."""
        return self.features.vectors(batch, self.most)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """All four of the samples `a` against the real items `b`.

        Raises:
            InputError: if a side has no more than k items.
        """
        a.check(b)
        parts = dict(vars(manifolds(a.rows, b.rows, self.k)))
        value = parts.pop(self.headline)
        protocol = (
            f"{self.headline}, balls to neighbour k={self.k}, features {self.features.name} "
            f"(d={a.dimensions}){counted(a, b)}"
        )
        return Score(value, min(a.kept, b.kept), None, protocol, self.better, parts)
