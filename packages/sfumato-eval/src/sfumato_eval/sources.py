"""What metrics are given: a batch, a data set, or a stream of batches, read in bounded memory."""

from __future__ import annotations

__all__ = ["Source", "Summary", "numbered", "size", "subsample", "summarise"]

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, TypeAlias, TypeVar, cast, runtime_checkable

import torch
from torch import Generator

from sfumato import Batch, Dataset, InputError, random
from sfumato.state import items
from sfumato_data import select, subset

Source: TypeAlias = Batch | Dataset | Iterable[Batch]
"""A batch, a data set, or anything that yields batches one after the other, such as a generator
that reads shards. A stream has no length, and a generator can be read only once."""


class Summary(Protocol):
    """What a metric keeps of a set of items; adding two gives the summary of both sets.

    A summary that keeps some of the items may have a method `numbered(first)`, see `Vectors`.
    """

    @property
    def n(self) -> int:
        """Number of items."""

    def __add__(self, other: Self, /) -> Self:
        """The summary of both sets together."""


@runtime_checkable
class _Numbered(Protocol):
    def numbered(self, first: int) -> Self: ...


S = TypeVar("S", bound=Summary)


def numbered(summary: S, first: int) -> S:
    """The summary with its items numbered from `first`, where it keeps numbers."""
    return summary.numbered(first) if isinstance(summary, _Numbered) else summary


def size(source: Source) -> int | None:
    """Number of items, or None for a stream."""
    if isinstance(source, Batch):
        return items(source.x)
    return len(cast(Dataset, source)) if hasattr(source, "batch") else None


def subsample(source: Source, n: int, generator: Generator) -> Batch | Dataset:
    """`n` items of a source drawn without replacement, in the order of the source.

    Raises:
        InputError: if the source holds fewer than `n`, or is a stream, or `n` is not positive.
    """
    count = size(source)
    if count is None:
        raise InputError("a stream has no length, so no items can be drawn of it; take its first n")
    if not 1 <= n <= count:
        raise InputError(f"cannot draw {n} of {count} items: n must be between 1 and {count}")
    index = random.permutation(count, generator)[:n].cpu().sort().values
    if isinstance(source, Batch):
        return select(source, index)
    return subset(cast(Dataset, source), index.tolist())


def _read(source: Source, batch_size: int) -> Iterator[Batch]:
    """The items in order, at most `batch_size` at a time."""
    if not isinstance(source, Batch) and hasattr(source, "batch"):
        data = cast(Dataset, source)
        for start in range(0, len(data), batch_size):
            yield data.batch(range(start, min(start + batch_size, len(data))))
        return
    for batch in [source] if isinstance(source, Batch) else source:
        if not isinstance(batch, Batch):
            raise InputError(f"a stream has to yield batches, not {type(batch).__name__}")
        for index in torch.split(torch.arange(items(batch.x)), batch_size):
            yield select(batch, index)


def summarise(
    summary: Callable[[Batch], S],
    source: Source,
    *,
    side: str,
    batch_size: int = 256,
    first: int = 0,
    n: int | None = None,
) -> S:
    """The summary of a whole source, batch by batch.

    Summaries of the parts of a set add up to the summary of the set, whatever the parts, if each
    part is told the number of its `first` item.

    Args:
        summary: `Metric.summary`, or any map from a batch to something that adds.
        source: a batch, a data set or a stream.
        side: what to call the source in an error: "samples", "held-out".
        batch_size: items given to `summary` at a time.
        first: number of the first item in the set that the source is a part of.
        n: items to read, the first ones; None reads all.

    Raises:
        InputError: if there are no items, or fewer than n, or what `summary` raises, with the side
            named.
    """
    if batch_size < 1 or (n is not None and n < 1):
        raise InputError(f"{side}: batch_size and n must be at least 1, not {batch_size} and {n}")
    total, done = None, 0
    for batch in _read(source, batch_size):
        count = items(batch.x)
        if n is not None and done + count > n:
            batch, count = select(batch, torch.arange(n - done)), n - done
        if not count:
            continue
        try:
            part = numbered(summary(batch), first + done)
            total = part if total is None else total + part
        except InputError as error:
            raise InputError(f"{side}, items {done} to {done + count - 1}: {error}") from error
        done += count
        if done == n:
            break
    if total is None or (n is not None and done < n):
        once = "" if size(source) is not None else "; a generator can be read only once"
        raise InputError(f"{side}: {done} items, but {n or 'at least 1'} are needed{once}")
    return total
