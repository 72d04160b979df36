"""Scores that carry n and their floor, the metric contract, and `measure` which joins the two.

The floor of a metric is its value between real and real data, at the n of the samples. A value
without its floor cannot be read, since most distances between finite sets are far from zero even
for equal laws.
"""

from __future__ import annotations

__all__ = ["Better", "Metric", "Score", "measure", "measure_all"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from torch import Generator

from sfumato import Batch, InputError
from sfumato.state import items

from .sources import Source, Summary, numbered, size, subsample, summarise

Better: TypeAlias = Literal["lower", "higher"]


@dataclass(frozen=True)
class Score:
    """One measured number, with what is needed to read it.

    Attributes:
        value: the measure between samples and held-out data.
        n: items on each side that the value rests on (the smaller number where they differ).
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
        """The value over the floor; None without a floor, or where it would mislead.

        That is where the floor is not above zero, or the value is below, as that of an unbiased
        estimator may be.
        """
        if self.floor is None or self.floor <= 0 or self.value < 0:
            return None
        return self.value / self.floor


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


def measure(
    metric: Metric[S],
    samples: Source,
    held: Source,
    other: Source,
    *,
    n: int | None = None,
    generator: Generator | None = None,
    batch_size: int = 256,
    floor: str = "other real items against held-out items",
) -> Score:
    """A metric between samples and held-out data, with its floor, at the same n on every side.

    value = between(samples, held); floor = between(other, held), unless the metric knows its
    floor from `held` alone. Of a side with more than n items, n are drawn: equal generators draw
    equal items, so that several metrics can be measured on the same ones. A stream has no length:
    its first n items are taken.

    The floor is neutral where `other` is to the features what `held` is. Where they were fitted
    to training items, let `held` and `other` be disjoint halves of the held-out data: features
    may tell training items from others, and a floor too high flatters every model. Ask for
    conditional samples with the conditions of `other`: those of a model with no fault are then
    distributed as `other` is, proportions of classes included, and so is the value as the floor.

    Args:
        metric: what to measure.
        samples: what the model made.
        held: real items that the model has not seen.
        other: further real items, for the floor.
        n: items on each side; by default the size of the smallest that has one.
        generator: draws the items; may be left out where every side holds exactly n.
        batch_size: items in memory at a time.
        floor: what the floor compares, for the protocol.

    Raises:
        InputError: if a side is empty, holds fewer than n items, or holds more and there is no
            generator; if n is not given and all sides are streams; if a metric cannot use a side
            (features not finite), or the result is not finite. The side is named.
    """
    found = measure_all(
        [metric], samples, held, other, n=n, generator=generator, batch_size=batch_size, floor=floor
    )
    return found[metric.name]


def measure_all(
    metrics: Sequence[Metric[Any]],
    samples: Source,
    held: Source,
    other: Source,
    *,
    n: int | None = None,
    generator: Generator | None = None,
    batch_size: int = 256,
    floor: str = "other real items against held-out items",
) -> dict[str, Score]:
    """What `measure` finds for each of several metrics, by name, in one pass over each side.

    So that a generator serves them all, and features that are `remembered` are made once.

    Raises:
        InputError: as `measure` does, or if two metrics have one name.
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        raise InputError(f"the metrics have to differ in name, unlike {', '.join(names)}")
    count, sources = _equal({"samples": samples, "held-out": held, "other": other}, n, generator)

    def totals(side: str, which: Sequence[Metric[Any]]) -> list[Any]:
        def summary(batch: Batch) -> _Several:
            return _Several(tuple(metric.summary(batch) for metric in which), items(batch.x))

        total = summarise(summary, sources[side], side=side, batch_size=batch_size, n=count)
        return list(total.parts)

    made, reference = totals("samples", metrics), totals("held-out", metrics)
    scores = [m.between(*pair) for m, *pair in zip(metrics, made, reference, strict=True)]
    missing = [i for i, score in enumerate(scores) if score.floor is None]
    if missing:
        real = totals("other", [metrics[i] for i in missing])
        for i, part in zip(missing, real, strict=True):
            scores[i] = _with_floor(scores[i], metrics[i].between(part, reference[i]), floor)
    return dict(zip(names, map(_finite, names, scores), strict=True))


@dataclass(frozen=True, eq=False)
class _Several:
    """Summaries of several metrics of the same items."""

    parts: tuple[Any, ...]
    n: int

    def __add__(self, other: _Several) -> _Several:
        both = zip(self.parts, other.parts, strict=True)
        return _Several(tuple(a + b for a, b in both), self.n + other.n)

    def numbered(self, first: int) -> _Several:
        return replace(self, parts=tuple(numbered(part, first) for part in self.parts))


def _with_floor(score: Score, real: Score, floor: str) -> Score:
    parts = {f"{name} of the floor": value for name, value in real.parts.items()}
    return replace(
        score,
        floor=real.value,
        protocol=f"{score.protocol}; floor: {floor}",
        parts={**score.parts, **parts},
    )


def _finite(name: str, score: Score) -> Score:
    if not all(map(math.isfinite, (score.value, score.floor or 0.0, *score.parts.values()))):
        raise InputError(
            f"{name} is not finite (value {score.value}, floor {score.floor}): the features "
            "are too large to be squared and summed; scale them down"
        )
    return score


def _equal(
    sources: Mapping[str, Source], n: int | None, generator: Generator | None
) -> tuple[int, dict[str, Source]]:
    """The items on each side, and the sides cut to so many where they have a length."""
    sizes = {side: size(source) for side, source in sources.items()}
    known = [length for length in sizes.values() if length is not None]
    if n is None and not known:
        raise InputError("all sides are streams, which have no length: give n")
    count, found = min(known) if n is None else n, dict(sources)
    for side, length in sizes.items():
        if length is None:
            continue
        if not 1 <= count <= length:
            raise InputError(
                f"{side}: {length} items, but {count} are needed on every side (n >= 1)"
            )
        if length > count:
            if generator is None:
                raise InputError(
                    f"{side}: {length} items, but {count} are compared on every side; pass a "
                    "generator that draws them, or sides of equal size"
                )
            found[side] = subsample(sources[side], count, generator)
    return count, found
