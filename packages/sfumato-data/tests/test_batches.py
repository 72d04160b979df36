"""Batches are a function of (seed, step), and the threads that read ahead change nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
import torch

from sfumato import Batch, InputError
from sfumato_data import Batches, Tensors, prefetched, sizes_of, subset

DATA = Tensors(torch.arange(10)[:, None])


def row(batches, steps):
    """The items of the first steps, one after the other."""
    return [i for step in range(steps) for i in batches(step).x[:, 0].tolist()]


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("sfumato-prefetch")]


@pytest.mark.parametrize("size", [1, 3, 10, 4])
def test_every_epoch_is_an_order_of_all_items_and_runs_on_over_its_end(size):
    items = row(Batches(DATA, size, seed=5), 30)[:30]
    epochs = [items[i : i + 10] for i in range(0, len(items), 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_row_of_items_does_not_depend_on_the_size_of_a_batch():
    assert row(Batches(DATA, 3, seed=5), 10) == row(Batches(DATA, 6, seed=5), 5)


def test_a_step_does_not_depend_on_what_was_asked_before():
    batches = Batches(DATA, 4, seed=5)
    later = batches(1000).x
    batches(3)
    assert torch.equal(batches(1000).x, later)
    assert torch.equal(Batches(DATA, 4, seed=5)(1000).x, later)
    assert row(Batches(DATA, 4, seed=6), 5) != row(batches, 5)


def test_a_batch_larger_than_the_data_goes_through_it_again():
    items = Batches(DATA, 25, seed=0)(0).x[:, 0].tolist()
    assert len(items) == 25
    assert sorted(items[:10]) == sorted(items[10:20]) == list(range(10))


def test_bad_requests_are_named():
    with pytest.raises(InputError, match="empty"):
        Batches(Tensors(torch.zeros(0, 1)), 4, 0)
    with pytest.raises(InputError, match="at least 1 item, but 0"):
        Batches(DATA, 0, 0)


def test_reading_ahead_gives_the_same_batches():
    batches = Batches(DATA, 4, seed=5)
    with prefetched(batches, 3, 20) as ahead:
        found = [batch.x.tolist() for batch in ahead]
    assert found == [batches(step).x.tolist() for step in range(3, 20)]


def test_order_is_kept_whichever_thread_is_done_first():
    def read(step):
        time.sleep(0.02 * (step % 3 == 0))
        return DATA.batch([step % 10])

    with prefetched(read, 0, 30, ahead=6, readers=3) as ahead:
        assert [batch.x.item() for batch in ahead] == [step % 10 for step in range(30)]


def test_a_small_data_set_read_by_many_threads_keeps_its_orders():
    """Threads that are epochs apart ask for the orders of both."""
    batches = Batches(DATA, 7, seed=5)
    alone = [batches(step).x.tolist() for step in range(200)]
    with prefetched(Batches(DATA, 7, seed=5), 0, 200, ahead=16, readers=8) as ahead:
        assert [batch.x.tolist() for batch in ahead] == alone


def test_several_readers_read_at_the_same_time():
    """Each read needs another one beside it: with a single reader this would never end."""
    both = threading.Barrier(2, timeout=20)

    def read(step):
        both.wait()
        return DATA.batch([step])

    with prefetched(read, 0, 4, readers=2) as ahead:
        assert [batch.x.item() for batch in ahead] == [0, 1, 2, 3]


@pytest.mark.parametrize("ahead_by", [1, 2, 5])
def test_only_so_many_batches_are_under_way(ahead_by):
    asked = []

    def read(step):
        asked.append(step)
        return DATA.batch([0])

    with prefetched(read, 0, 1000, ahead=ahead_by, readers=3) as ahead:
        for taken in (1, 2, 3):
            next(ahead)
            end = time.monotonic() + 10
            while len(asked) < taken + ahead_by and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.05)  # one too many would come now
            assert sorted(asked) == list(range(taken + ahead_by))


def test_an_error_is_raised_at_the_step_it_belongs_to():
    def read(step):
        if step == 3:
            raise InputError("image 17 is truncated")
        return DATA.batch([step])

    with prefetched(read, 0, 10, ahead=5) as ahead:
        assert [next(ahead).x.item() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(InputError, match="image 17"):
            next(ahead)
    assert not readers()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_early_ends_the_threads(taken):
    with prefetched(Batches(DATA, 4, seed=5), 0, 10**6) as ahead:
        for _ in range(taken):
            next(ahead)
        assert readers()
    assert not readers()


def test_an_exception_in_the_block_ends_the_threads_and_passes():
    with pytest.raises(ZeroDivisionError):
        with prefetched(Batches(DATA, 4, seed=5), 0, 10**6):
            raise ZeroDivisionError
    assert not readers()


class Sizes:
    """Items 0, 1, ... of several groups, given by how many each has, in a mixed order."""

    def __init__(self, *counts):
        groups = torch.tensor([g for g, n in enumerate(counts) for _ in range(n)])
        self.own = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(1))]
        self.about = {}

    def __len__(self):
        return len(self.own)

    def groups(self):
        return self.own.tolist()

    def batch(self, index):
        return Tensors(torch.arange(len(self))[:, None]).batch(index)


def steps_of(data, size, steps, seed=0):
    batches = Batches(data, size, seed)
    return [batches.index(step) for step in range(steps)]


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_a_batch_holds_items_of_one_group(size):
    data = Sizes(60, 25, 14, 1)
    for items in steps_of(data, size, 60):
        assert len(items) == size
        assert len({int(data.own[i]) for i in items}) == 1


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_share_of_a_group_is_its_share_of_the_items_at_every_step(size):
    """Within an epoch the order is drawn; at its end no row has more than one batch pending."""
    counts = (60, 25, 14, 1)
    data = Sizes(*counts)
    batches = Batches(data, size, seed=3)
    groups = [int(data.own[batches.index(step)[0]]) for step in range(400)]
    for epoch in range(1, 400 * size // 100):
        done = batches._plan._filled(epoch)
        for group, count in enumerate(counts):
            assert abs(done[group] - epoch * count / size) < 1
            if sum(done) <= 400:
                assert groups[: sum(done)].count(group) == done[group]


def test_each_row_of_a_group_is_epochs_of_its_items():
    data = Sizes(10, 6)
    row = {0: [], 1: []}
    batches = Batches(data, 4, seed=0)
    for step in range(80):
        items = batches.index(step)
        row[int(data.own[items[0]])] += items
    for group, count in ((0, 10), (1, 6)):
        own = [i for i in range(16) if data.own[i] == group]
        epochs = [row[group][k : k + count] for k in range(0, len(row[group]) - count, count)]
        assert len(epochs) >= 15
        assert all(sorted(epoch) == own for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 10


def test_small_groups_come_in_their_turn_from_the_start():
    """A group of 5 % of a batch fills one in the first epoch for 5 % of the seeds."""
    data = Sizes(95, 5)
    filled = [Batches(data, 100, seed)._plan._filled(1)[1] for seed in range(400)]
    assert set(filled) == {0, 1}
    assert 5 <= sum(filled) <= 40  # Binomial(400, 0.05) is outside with probability 4e-5


def test_a_step_of_grouped_data_does_not_depend_on_what_was_asked_before():
    data = Sizes(60, 25, 14, 1)
    row = steps_of(data, 8, 300, seed=5)
    later = Batches(data, 8, seed=5)
    for step in (299, 7, 150, 0, 298, 42):
        assert later.index(step) == row[step]
    assert steps_of(data, 8, 300, seed=6) != row
    far = Batches(data, 8, seed=5).index(10_000_000)
    assert len(far) == 8


def test_many_threads_see_the_same_batches_of_grouped_data():
    data = Sizes(60, 25, 14, 1)
    with prefetched(Batches(data, 8, seed=5).index, 0, 200, ahead=8, readers=4) as ahead:
        assert list(ahead) == steps_of(data, 8, 200, seed=5)


def test_one_group_is_gone_through_like_data_without_groups():
    data = Sizes(10)
    items = [i for step in steps_of(data, 3, 30) for i in step][:30]
    assert sorted(items[:10]) == sorted(items[10:20]) == list(range(10))


class Sized:
    """Items 0, 1, ... of sizes from 1 to 40, in a mixed order."""

    about: dict[str, int] = {}

    def __init__(self, count):
        self.own = torch.randint(1, 41, (count,), generator=torch.Generator().manual_seed(2))

    def __len__(self):
        return len(self.own)

    def batch(self, index):
        return Batch(torch.as_tensor(index)[:, None])

    def sizes(self):
        return self.own.tolist()


@pytest.mark.parametrize(("count", "size"), [(64, 4), (40, 8), (10, 10), (6, 25)])
def test_items_with_sizes_come_once_an_epoch(count, size):
    """Over whole stretches that are whole epochs, every item comes equally often."""
    batches = Batches(Sized(count), size, seed=3)
    steps = 16 * count * max(1, count // size)  # a multiple of a stretch, of whole epochs
    found = Counter(i for step in range(steps) for i in batches.index(step))
    assert set(found.values()) == {steps * size // count}


def test_what_comes_in_the_first_epoch_with_sizes_is_every_item_once():
    batches = Batches(Sized(64), 4, seed=3)
    first = [i for step in range(16) for i in batches.index(step)]
    assert sorted(first) == list(range(64))
    assert first != sorted(first) and Batches(Sized(64), 4, seed=4).index(0) != first[:4]


def test_a_step_with_sizes_is_a_function_of_the_seed_and_the_step():
    batches = Batches(Sized(200), 8, seed=3)
    later = batches.index(1000)
    batches.index(3)
    assert batches.index(1000) == later == Batches(Sized(200), 8, seed=3).index(1000)


def test_batches_with_sizes_touch_little_more_than_the_pairs_that_exist():
    """512 items, batches of 16: n_max^2 of the batch at most 1.1 of the sum of n^2; else 2.4."""
    data = Sized(512)
    own = data.own.double()

    def touched(batches):
        index = [batches.index(step) for step in range(32)]
        return sum(len(i) * float(own[i].max()) ** 2 for i in index) / float(own.square().sum())

    assert touched(Batches(data, 16, seed=3)) < 1.1
    assert touched(Batches(Tensors(torch.zeros(512, 1)), 16, seed=3)) > 2


def test_sizes_of_a_subset_are_those_of_its_items_and_a_wrong_number_of_them_is_named():
    data = Sized(10)
    assert sizes_of(subset(data, [3, 1])) == [int(data.own[3]), int(data.own[1])]
    assert sizes_of(DATA) is None and sizes_of(subset(DATA, [1])) is None
    data.sizes = lambda: [1, 2]
    with pytest.raises(InputError, match="10 items, but sizes of 2"):
        Batches(data, 2, 0)
