"""Batches as a pure function of (seed, step), and a thread that reads them ahead."""

from __future__ import annotations

__all__ = ["Batches", "prefetched"]

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from torch import Tensor

from sfumato import Batch, Dataset, InputError, random


class Batches:
    """`batches(step)` is the batch of a step: a function of (seed, step) alone.

    The items stand in one endless row, epoch after epoch, each epoch in an order of its own;
    step k takes the items from k * size on. Every batch is full, and a data set that is smaller
    than a batch is simply gone through more than once.

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
        if epoch not in self._orders:
            for old in [e for e in self._orders if e != epoch - 1]:
                del self._orders[old]
            generator = random.derive(self.seed, "order", epoch)
            self._orders[epoch] = random.permutation(len(self.dataset), generator)
        return self._orders[epoch]


@dataclass(frozen=True)
class _Read:
    batch: Batch | None
    error: BaseException | None = None


@contextmanager
def prefetched(
    read: Callable[[int], Batch], start: int, stop: int, ahead: int = 2
) -> Iterator[Iterator[Batch]]:
    """The batches of the steps from `start` to before `stop`, read ahead by a thread.

    At most `ahead` batches wait. An error is raised when the step that it belongs to is asked for.
    Leaving the block ends the thread, at the latest when the batch that it is reading is there.

    Args:
        read: maps a step to its batch, such as `Batches`; called from the thread only.
        start: first step.
        stop: the step after the last.
        ahead: how many batches may wait.
    """
    ready: queue.Queue[_Read] = queue.Queue(maxsize=ahead)
    over = threading.Event()

    def work() -> None:
        for step in range(start, stop):
            try:
                ready.put(_Read(read(step)))
            except BaseException as error:  # not lost with the thread: raised where it is awaited
                return ready.put(_Read(None, error))
            if over.is_set():
                return

    def batches() -> Iterator[Batch]:
        for _ in range(start, stop):
            item = ready.get()
            if item.batch is None:
                assert item.error is not None
                raise item.error
            yield item.batch

    thread = threading.Thread(target=work, name="sfumato-prefetch", daemon=True)
    thread.start()
    try:
        yield batches()
    finally:
        over.set()
        with suppress(queue.Empty):
            while True:  # makes room for the one batch that the thread may still be waiting with
                ready.get_nowait()
        thread.join()
