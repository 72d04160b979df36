"""Batches as a pure function of (seed, step), and threads that read them ahead."""

from __future__ import annotations

__all__ = ["Batches", "prefetched"]

import itertools
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError, random

from .datasets import groups_of, sizes_of

T = TypeVar("T")
STRETCH = 16
"""Batches that are made of one stretch of the row, where items have sizes."""


class Batches:
    """`batches(step)` is the batch of a step: a function of (seed, step) alone.

    The items stand in one endless row, epoch after epoch, each epoch in an order of its own;
    step k takes the items from k * size on. Every batch is full, and a data set that is smaller
    than a batch is simply gone through more than once. May be called from several threads.

    Of a data set with groups (`sfumato_data.Grouped`) each group has a row of its own, and a batch
    holds items of one group. With each epoch every row grows by the items of its group and gives
    the batches that are full by then; the epoch takes those of all rows in an order of its own.
    What is left is carried on, so that the share of a group in the steps is its share of the items.
    How full its first batch is at the start is drawn, for else small groups would all come late.

    Of a data set with sizes (`sfumato_data.Sizable`) a batch holds items of like size, so that
    little is padded: a stretch of the row, of 16 batches or of an epoch if that is shorter, is
    sorted by size and cut into its batches, which come in an order of their own. Every item still
    comes once in an epoch.

    Args:
        dataset: where the items are; not empty.
        size: items in a batch.
        seed: of the orders.

    Raises:
        InputError: for an empty data set or a size that is not positive.
    """

    def __init__(self, dataset: Dataset, size: int, seed: int) -> None:
        if len(dataset) == 0:
            raise InputError("the data set is empty; there is nothing to train on")
        if size < 1:
            raise InputError(f"a batch needs at least 1 item, but {size} were asked for")
        self.dataset = dataset
        self.size = size
        self.seed = seed
        groups, sizes = groups_of(dataset), sizes_of(dataset)
        self._stretches: _Stretches | None = None
        if groups is None:
            self._rows = [_Row(seed, ("order",), torch.arange(len(dataset)))]
            self._plan = None
            if sizes is not None:
                self._stretches = _Stretches(self._rows[0], size, seed, sizes)
        else:
            which, counts = np.unique(groups, return_counts=True)
            parts = np.split(np.argsort(groups, kind="stable"), np.cumsum(counts)[:-1])
            self._rows = [
                _Row(seed, ("order", group), torch.from_numpy(part))
                for group, part in zip(which.tolist(), parts, strict=True)
            ]
            self._plan = _Plan(seed, size, counts.tolist())

    def index(self, step: int) -> list[int]:
        """The items of a step."""
        if self._stretches is not None:
            return self._stretches(step)
        row, place = (0, step) if self._plan is None else self._plan(step)
        return self._rows[row].items(place * self.size, self.size)

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        return self.dataset.batch(self.index(step))


class _Row:
    """An endless row of items, epoch after epoch, each in an order of its own."""

    def __init__(self, seed: int, path: Sequence[str | int], own: Tensor) -> None:
        self.seed, self.path, self.own = seed, path, own
        self._orders: dict[int, Tensor] = {}
        self._lock = threading.Lock()

    def items(self, first: int, size: int) -> list[int]:
        """The `size` items from the place `first` on."""
        found: list[int] = []
        while len(found) < size:
            epoch, place = divmod(first + len(found), len(self.own))
            found += self._order(epoch)[place : place + size - len(found)].tolist()
        return found

    def _order(self, epoch: int) -> Tensor:
        with self._lock:
            if epoch not in self._orders:
                # Kept are an epoch and the one before, where a slower thread may still be.
                self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
                generator = random.derive(self.seed, *self.path, epoch)
                self._orders[epoch] = self.own[random.permutation(len(self.own), generator)]
            return self._orders[epoch]


class _Stretches:
    """The items of any step, where those of one batch are to be of like size."""

    def __init__(self, row: _Row, size: int, seed: int, sizes: Sequence[int]) -> None:
        self.row, self.size, self.seed = row, size, seed
        self.sizes = np.asarray(sizes)
        self.count = max(1, min(STRETCH, len(sizes) // size))
        self._stretch = lru_cache(2)(self._sorted)  # steps come in order, from a few threads

    def __call__(self, step: int) -> list[int]:
        stretch, place = divmod(step, self.count)
        return list(self._stretch(stretch)[place])

    def _sorted(self, stretch: int) -> list[list[int]]:
        """The batches of a stretch, in their order; items of one size as they come in the row."""
        many = self.count * self.size
        items = np.array(self.row.items(stretch * many, many))
        batches = items[np.argsort(self.sizes[items], kind="stable")].reshape(self.count, self.size)
        order = random.permutation(self.count, random.derive(self.seed, "stretches", stretch))
        found: list[list[int]] = batches[order.numpy()].tolist()
        return found


class _Plan:
    """Which group a step takes, and how many steps before took it: in closed form, for any step."""

    def __init__(self, seed: int, size: int, counts: Sequence[int]) -> None:
        self.seed, self.size, self.counts = seed, size, counts
        generator = random.derive(seed, "starts")
        self.starts = random.integers(0, size, (len(counts),), generator).tolist()
        self._epoch = lru_cache(2)(self._drawn)  # steps come in order, from a few threads

    def __call__(self, step: int) -> tuple[int, int]:
        """(row, number of its batch) of a step."""
        epoch = self._epoch_of(step)
        before = self._filled(epoch)
        return self._epoch(epoch)[step - sum(before)]

    def _filled(self, epoch: int) -> list[int]:
        """How many batches of each row are full before an epoch begins."""
        return [
            (epoch * count + start) // self.size
            for count, start in zip(self.counts, self.starts, strict=True)
        ]

    def _epoch_of(self, step: int) -> int:
        """The last epoch that begins with at most so many steps done."""
        most = (step + len(self.counts)) * self.size // sum(self.counts) + 1
        return bisect_right(range(most + 1), step, key=lambda epoch: sum(self._filled(epoch))) - 1

    def _drawn(self, epoch: int) -> list[tuple[int, int]]:
        """(row, number of its batch) of all steps of an epoch, in its order."""
        done, after = self._filled(epoch), self._filled(epoch + 1)
        rows = [row for row in range(len(done)) for _ in range(done[row], after[row])]
        order = random.permutation(len(rows), random.derive(self.seed, "groups", epoch))
        found = []
        for row in [rows[i] for i in order.tolist()]:
            found.append((row, done[row]))
            done[row] += 1
        return found


@contextmanager
def prefetched(
    read: Callable[[int], T], start: int, stop: int, ahead: int = 4, readers: int = 2
) -> Iterator[Iterator[T]]:
    """The batches of the steps from `start` to before `stop`, in order, read ahead by threads.

    At most `ahead` batches are being read or wait. An error is raised when the step that it belongs
    to is asked for. Leaving the block ends the threads, at the latest when the batches that they
    are reading are there.

    Args:
        read: maps a step to its batch, such as `Batches`, or to the parts of it; called from
            several threads at a time.
        start: first step.
        stop: the step after the last.
        ahead: how many batches may be under way, beyond the one in use.
        readers: how many threads read.
    """
    pool = ThreadPoolExecutor(readers, "sfumato-prefetch")
    steps = iter(range(start, stop))
    under_way = deque(pool.submit(read, step) for step in itertools.islice(steps, ahead))

    def batches() -> Iterator[T]:
        while under_way:
            batch = under_way.popleft().result()
            under_way.extend(pool.submit(read, step) for step in itertools.islice(steps, 1))
            yield batch

    try:
        yield batches()
    finally:
        pool.shutdown(cancel_futures=True)
