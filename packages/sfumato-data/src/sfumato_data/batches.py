"""Batches as a pure function of (seed, step), and threads that read them ahead."""

from __future__ import annotations

__all__ = ["Batches", "prefetched"]

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

from sfumato import Batch, Dataset, InputError, random

T = TypeVar("T")


class Batches:
    """`batches(step)` is the batch of a step: a function of (seed, step) alone.

    The items stand in one endless row, epoch after epoch, each epoch in an order of its own;
    step k takes the items from k * size on. Every batch is full, and a data set that is smaller
    than a batch is simply gone through more than once. May be called from several threads.

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
        self._orders: dict[int, Tensor] = {}
        self._lock = threading.Lock()

    def index(self, step: int) -> list[int]:
        """The items of a step."""
        found: list[int] = []
        first, count = step * self.size, len(self.dataset)
        while len(found) < self.size:
            epoch, place = divmod(first + len(found), count)
            stop = place + self.size - len(found)
            found += self._order(epoch)[place:stop].tolist()
        return found

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        return self.dataset.batch(self.index(step))

    def _order(self, epoch: int) -> Tensor:
        with self._lock:
            if epoch not in self._orders:
                # Kept are an epoch and the one before, where a slower thread may still be.
                self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
                generator = random.derive(self.seed, "order", epoch)
                self._orders[epoch] = random.permutation(len(self.dataset), generator)
            return self._orders[epoch]


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
