"""What samples of text are measured by: perplexity under a judge, always with their diversity."""

from __future__ import annotations

__all__ = ["Distinct", "Entropy", "Perplexity", "Sums", "metrics"]

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import Batch, Dataset
from sfumato_data import subset
from sfumato_eval import Features, Memorisation, Metric, Score
from sfumato_eval.score import Better

from .ngram import NGram, grams
from .samples import real
from .windows import DOCUMENT

ORDER = 5
"""Tokens of the longest n-grams that the judge counts."""

_TOKENS, _ITEMS = 2_000_000, 10_000  # training tokens and windows that are looked at, at most
_GRAM, _BUCKETS = 4, 512


def metrics(train: Dataset) -> Sequence[Metric[Any]]:
    """Generative perplexity, entropy, distinct n-grams, and memorisation of n-grams.

    The judge of the perplexity is an n-gram model of the training windows. It alone says little: a
    model that repeats what is common does well by it. So read it beside the unigram entropy of
    the samples, which is among its parts, and beside the share of n-grams that are distinct.
    """
    classes = int(train.about["vocabulary"])
    some = max(1, _TOKENS // int(train.about["length"]))
    judge = NGram.fit(
        (_arrays(train.batch(part)) for part in _chunks(len(train), some)), classes, ORDER
    )
    few = subset(train, [i for part in _chunks(len(train), _ITEMS) for i in part])
    return [
        Perplexity(judge.nats, f"interpolated {ORDER}-gram model of training tokens"),
        Entropy(),
        Distinct(_GRAM),
        Memorisation.of(few, Features(f"{_BUCKETS} hashed {_GRAM}-grams of tokens", _bags)),
    ]


def _chunks(count: int, most: int, size: int = 512) -> list[list[int]]:
    """At most so many places of `count`, evenly spread, in pieces."""
    few = min(count, most)
    places = [i * count // few for i in range(few)]
    return [places[i : i + size] for i in range(0, few, size)]


def _arrays(batch: Batch) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Ids and which are real, each document of a packed window in a row of its own."""
    ids, there = batch.x.data.numpy(), real(batch).numpy()
    document = batch.condition.get(DOCUMENT)
    if document is None or not len(ids):
        return ids, there
    owner = document.numpy()
    parts = [(ids, there & (owner == 0))]
    for number in range(1, int(owner.max()) + 1):
        rows = (owner == number).any(1)
        parts.append((ids[rows], (there & (owner == number))[rows]))
    values, masks = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(masks)


@dataclass(frozen=True)
class Sums:
    """Sums over n texts; adding adds them."""

    n: int
    nats: float
    tokens: int
    entropy: float
    square: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[Any, ...]:
        return self.n, self.nats, self.tokens, self.entropy, self.square

    @property
    def spread(self) -> float:
        """Standard error of the mean entropy."""
        mean = self.entropy / self.n
        return math.sqrt(max(self.square / self.n - mean * mean, 0.0) / self.n)


def _entropies(batch: Batch) -> NDArray[np.float64]:
    """-sum p log p of the token frequencies within each text, in nats."""
    valid = real(batch).numpy()
    found = []
    for ids, mask in zip(batch.x.data.numpy(), valid, strict=True):
        counts = np.unique(ids[mask], return_counts=True)[1]
        share = counts / counts.sum()
        found.append(float(-(share * np.log(share)).sum()))
    return np.asarray(found)


def _sums(batch: Batch, nats: float, tokens: int) -> Sums:
    each = _entropies(batch)
    return Sums(len(each), nats, tokens, float(each.sum()), float((each**2).sum()))


@dataclass(frozen=True)
class Perplexity:
    """exp(mean -log p) of a token under a judge; lower is better, down to that of real text.

    Attributes:
        nats: maps ids (B, L) and which are real to -log p of each.
        judge: what it is.
    """

    nats: Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float64]]
    judge: str
    name: ClassVar[str] = "gen-ppl"
    better: ClassVar[Better] = "lower"

    def summary(self, batch: Batch) -> Sums:
        """Nats and tokens of a batch, with the entropies."""
        ids, there = _arrays(batch)
        return _sums(batch, float(self.nats(ids, there).sum()), int(there.sum()))

    def between(self, a: Sums, b: Sums) -> Score:
        """The perplexity of the texts `a`, their entropy beside it."""
        value = math.exp(a.nats / max(a.tokens, 1))
        protocol = f"exp of mean nats a token; judge: {self.judge}; read it with the entropy"
        parts = {"unigram entropy a text": a.entropy / a.n}
        return Score(value, min(a.n, b.n), None, protocol, self.better, parts)


@dataclass(frozen=True)
class Entropy:
    """Mean unigram entropy within a text, in nats; that of real text is what one wants."""

    name: ClassVar[str] = "entropy"
    better: ClassVar[Better] = "higher"

    def summary(self, batch: Batch) -> Sums:
        """Sums of the entropies."""
        return _sums(batch, 0.0, 0)

    def between(self, a: Sums, b: Sums) -> Score:
        """The mean of the texts `a`."""
        parts = {"standard error": a.spread}
        protocol = "-sum p log p of token frequencies within each text, mean, nats"
        return Score(a.entropy / a.n, min(a.n, b.n), None, protocol, self.better, parts)


@dataclass(frozen=True)
class Kinds:
    """The different n-grams of n texts, and how many there are in all."""

    n: int
    seen: NDArray[np.uint64]
    total: int

    def __add__(self, other: Kinds) -> Kinds:
        """Both sets together."""
        return Kinds(self.n + other.n, np.union1d(self.seen, other.seen), self.total + other.total)


@dataclass(frozen=True)
class Distinct:
    """Share of n-grams, over all texts together, that are different (Li et al., arXiv:1510.03055).

    Attributes:
        order: tokens of an n-gram.
    """

    order: int
    better: ClassVar[Better] = "higher"

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"distinct-{self.order}"

    def summary(self, batch: Batch) -> Kinds:
        """The n-grams of a batch."""
        hashed, there = grams(*_arrays(batch), self.order)[-1]
        found = hashed[there]
        return Kinds(len(batch.x.data), np.unique(found), len(found))

    def between(self, a: Kinds, b: Kinds) -> Score:
        """The share of the texts `a`."""
        value = len(a.seen) / max(a.total, 1)
        protocol = f"different {self.order}-grams of tokens over all of them, whole set"
        return Score(value, min(a.n, b.n), None, protocol, self.better)


def _bags(batch: Batch) -> Tensor:
    """Counts of hashed n-grams of each text, scaled to length 1."""
    hashed, there = grams(batch.x.data.numpy(), real(batch).numpy(), _GRAM)[-1]
    bucket = np.where(there, hashed % np.uint64(_BUCKETS), _BUCKETS).astype(np.int64)
    counts = torch.zeros(len(bucket), _BUCKETS + 1)
    counts.scatter_add_(1, torch.from_numpy(bucket), torch.ones(bucket.shape))
    return torch.nn.functional.normalize(counts[:, :_BUCKETS], dim=1)
