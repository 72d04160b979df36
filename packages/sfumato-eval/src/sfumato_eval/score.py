"""Scores that carry n and their floor, the metric contract, and `measure` which joins the two.

The floor of a metric is its value between real and real data: training data against held-out
data, at the n of the samples. A value without its floor cannot be read, since most distances
between finite sets are far from zero even for equal laws.
"""

from __future__ import annotations

__all__ = [
    "Better",
    "Metric",
    "Score",
    "Source",
    "Subset",
    "Summary",
    "measure",
    "subsample",
    "summarise",
]

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar

import torch
from torch import Generator, Tensor

from sfumato import Batch, Dataset, InputError, Maybe, random
from sfumato.state import items, select

Better: TypeAlias = Literal["lower", "higher"]
Source: TypeAlias = Batch | Dataset


@dataclass(frozen=True)
class Score:
    """One measured number, with what is needed to read it.

    Attributes:
        value: the measure between samples and held-out data.
        n: items on each side (the smaller number where a caller compares unequal sides).
        floor: the same measure between real and real data, where it is known.
        protocol: what was computed, in one line: estimator, settings, features.
        better: the direction of improvement.
        parts: further numbers by name, such as a standard error.
    """

    value: float
    n: int
    floor: float | None
    protocol: str
    better: Better = "lower"
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The value over the floor; None without a floor, or where it is not above zero."""
        return self.value / self.floor if self.floor is not None and self.floor > 0 else None


class Summary(Protocol):
    """What a metric keeps of a set of items; adding two gives the summary of both sets."""

    @property
    def n(self) -> int:
        """Number of items."""

    def __add__(self, other: Self, /) -> Self:
        """The summary of both sets together."""


S = TypeVar("S", bound=Summary)


class Metric(Protocol[S]):
    """A measure between two sets of items, through summaries that add.

    Because summaries add, batches, processes and shards are joined with `+`, and one summary of
    the held-out data serves the value and the floor.
    """

    @property
    def name(self) -> str:
        """The name in tables."""

    @property
    def better(self) -> Better:
        """The direction of improvement."""

    def summary(self, batch: Batch) -> S:
        """What the metric keeps of a batch; raises `InputError` for what it cannot use."""

    def between(self, a: S, b: S) -> Score:
        """The score of the items `a` against the reference `b`.

        A metric whose floor follows from the reference alone sets it; others leave it None.
        """


@dataclass(frozen=True, eq=False)
class Subset:
    """Some items of a source, as a `Dataset`.

    Attributes:
        source: a dataset, or one batch.
        index: (n,) long, which items.
    """

    source: Source
    index: Tensor

    @property
    def about(self) -> Mapping[str, Any]:
        """The facts of the source."""
        return self.source.about

    def __len__(self) -> int:
        """Number of items."""
        return len(self.index)

    def batch(self, index: Sequence[int]) -> Batch:
        """The items at `index` of this subset."""
        chosen = self.index[torch.as_tensor(index, dtype=torch.long)]
        if not isinstance(self.source, Batch):
            return self.source.batch(chosen.tolist())
        condition = {k: _pick(v, chosen) for k, v in self.source.condition.items()}
        return Batch(select(self.source.x, chosen), condition, self.source.about)


def _pick(value: object, index: Tensor) -> object:
    if isinstance(value, Maybe):
        return Maybe(select(value.value, index), value.present[index])
    return select(value, index)


def _size(source: Source) -> int:
    return items(source.x) if isinstance(source, Batch) else len(source)


def subsample(source: Source, n: int, generator: Generator) -> Subset:
    """`n` items of a source drawn without replacement, in the order of the source.

    Raises:
        InputError: if the source holds fewer than `n`, or `n` is not positive.
    """
    size = _size(source)
    if not 1 <= n <= size:
        raise InputError(f"cannot draw {n} of {size} items: n must be between 1 and {size}")
    return Subset(source, random.permutation(size, generator)[:n].cpu().sort().values)


def summarise(
    summary: Callable[[Batch], S], source: Source, *, side: str, batch_size: int = 256
) -> S:
    """The summary of a whole source, batch by batch.

    Args:
        summary: `Metric.summary`, or any map from a batch to something that adds.
        source: a dataset, or one batch.
        side: what to call the source in an error: "samples", "held-out", "train".
        batch_size: items given to `summary` at a time.

    Raises:
        InputError: if the source is empty, or what `summary` raises, with the side named.
    """
    size = _size(source)
    if not size or batch_size < 1:
        raise InputError(f"{side}: {size} items in batches of {batch_size}; both must be positive")
    whole, total = Subset(source, torch.arange(size)), None
    for start in range(0, size, batch_size):
        stop = min(start + batch_size, size)
        try:
            part = summary(whole.batch(range(start, stop)))
            total = part if total is None else total + part
        except InputError as error:
            raise InputError(f"{side}, items {start} to {stop - 1}: {error}") from error
    assert total is not None
    return total


def measure(
    metric: Metric[S],
    samples: Source,
    held: Source,
    train: Source,
    *,
    n: int | None = None,
    generator: Generator | None = None,
    batch_size: int = 256,
) -> Score:
    """A metric between samples and held-out data, with its floor, at the same n on every side.

    value = between(samples, held); floor = between(train, held), unless the metric knows its
    floor from `held` alone. A side with more than n items is subsampled: equal generators draw
    equal items, so that several metrics can be measured on the same ones.

    Args:
        metric: what to measure.
        samples: what the model made.
        held: real items that the model has not seen.
        train: real items that the model was trained on.
        n: items on each side; by default the size of the smallest.
        generator: draws the items; may be left out where every side holds exactly n.
        batch_size: items in memory at a time.

    Raises:
        InputError: if a side is empty, holds fewer than n items, or holds more and there is no
            generator; if a metric cannot use a side (features not finite), or the result is not
            finite. The side is named.
    """
    sources = {"samples": samples, "held-out": held, "train": train}
    sizes = {side: _size(source) for side, source in sources.items()}
    count = min(sizes.values()) if n is None else n
    for side, size in sizes.items():
        if not 1 <= count <= size:
            raise InputError(f"{side}: {size} items, but {count} are needed on every side (n >= 1)")
        if size > count:
            if generator is None:
                raise InputError(
                    f"{side}: {size} items, but {count} are compared on every side; pass a "
                    "generator that draws them, or sides of equal size"
                )
            sources[side] = subsample(sources[side], count, generator)

    def total(side: str) -> S:
        return summarise(metric.summary, sources[side], side=side, batch_size=batch_size)

    made, reference = total("samples"), total("held-out")
    score = metric.between(made, reference)
    if score.floor is None:
        score = replace(score, floor=metric.between(total("train"), reference).value)
    if not all(map(math.isfinite, (score.value, score.floor or 0.0, *score.parts.values()))):
        raise InputError(
            f"{metric.name} is not finite (value {score.value}, floor {score.floor}): the features "
            "are too large to be squared and summed; scale them down"
        )
    return score
