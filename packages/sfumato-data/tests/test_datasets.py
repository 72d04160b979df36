"""Data sets in memory, subsets, and the split."""

from __future__ import annotations

import tracemalloc

import pytest
import torch

from sfumato import Fields, InputError, Maybe, Padded, Ragged
from sfumato_data import (
    Keyed,
    Parted,
    Tensors,
    alike,
    gather,
    groups_of,
    keys_of,
    spans_of,
    split,
    subset,
)


class Files(Tensors):
    """A folder of files: each item has a name."""

    def __init__(self, names):
        super().__init__(torch.arange(len(names))[:, None])
        object.__setattr__(self, "names", list(names))

    def keys(self):
        return self.names


def sides(names, held=0.3, seed=1):
    """The names on each side of a split."""
    return [set(keys_of(side)) for side in split(Files(names), held, seed)]


NAMES = [f"photos/{i:04}.png" for i in range(1000)]


HELD_BY_KEY = [f"photos/{i:04}.png" for i in (1, 2, 3, 5, 6, 11, 12, 17, 19, 23, 32, 34)]
HELD_BY_INDEX = [16, 19, 21, 24, 26, 29, 34, 35, 39]


def numbers(n):
    return Tensors(torch.arange(n)[:, None], {"twice": 2 * torch.arange(n)}, {"unit": "m"})


def test_a_batch_holds_the_items_asked_for():
    batch = numbers(10).batch([7, 0, 7])
    assert batch.x[:, 0].tolist() == [7, 0, 7]
    assert batch.condition["twice"].tolist() == [14, 0, 14]


@pytest.mark.parametrize(
    "x",
    [
        Ragged(torch.arange(6.0), torch.tensor([0, 0, 0, 1, 2, 2]), 3),
        Padded(torch.arange(6.0).view(3, 2), torch.ones(3, 2, dtype=torch.bool)),
        Fields(a=torch.arange(3.0), b=Ragged(torch.arange(3.0), torch.arange(3), 3)),
    ],
    ids=["ragged", "padded", "fields"],
)
def test_every_kind_of_state_can_be_held(x):
    from sfumato.state import item_sum

    data = Tensors(x, {"c": Maybe(x, torch.tensor([True, False, True]))})
    batch = data.batch([2, 0])
    assert len(data) == 3
    assert torch.equal(item_sum(batch.x), item_sum(x)[[2, 0]])
    assert batch.condition["c"].present.tolist() == [True, True]


def test_conditions_of_another_length_are_refused():
    with pytest.raises(InputError, match="'label' has 3 items, but the data has 4"):
        Tensors(torch.zeros(4, 1), {"label": torch.zeros(3)})


def test_a_subset_keeps_order_facts_and_source():
    part = subset(numbers(10), [4, 2, 9])
    assert len(part) == 3 and part.about == {"unit": "m"}
    assert part.batch([2, 0]).x[:, 0].tolist() == [9, 4]
    with pytest.raises(InputError, match="no item 10: the data set has items 0 to 9"):
        subset(numbers(10), [0, 10])


def test_the_two_sides_of_a_split_are_the_whole():
    train, held = split(numbers(500), 0.2, seed=3)
    both = gather(train).x[:, 0].tolist() + gather(held).x[:, 0].tolist()
    assert sorted(both) == list(range(500))


def test_a_split_holds_out_the_share_asked_for():
    # Binomial(20000, 0.25): the bound is 4.5 standard deviations, false alarm below 1e-5
    _, held = split(numbers(20_000), 0.25, seed=0)
    assert abs(len(held) - 5000) < 4.5 * (20_000 * 0.25 * 0.75) ** 0.5


def test_a_split_depends_on_the_seed_and_never_on_later_items():
    train, held = split(numbers(1000), 0.3, seed=1)
    train_of_more, held_of_more = split(numbers(1500), 0.3, seed=1)
    assert set(held.index) <= set(held_of_more.index)
    assert set(train.index) <= set(train_of_more.index)
    assert split(numbers(1000), 0.3, seed=1)[1].index == held.index
    assert split(numbers(1000), 0.3, seed=2)[1].index != held.index


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("held", [0.01, 0.99])
def test_no_side_of_a_small_split_is_empty(n, held):
    for seed in range(20):
        assert all(len(side) > 0 for side in split(numbers(n), held, seed))


def test_nothing_is_held_out_of_a_share_of_zero():
    train, held = split(numbers(50), 0.0, seed=0)
    assert len(train) == 50 and len(held) == 0


def test_a_split_needs_data_and_a_share():
    with pytest.raises(InputError, match="empty"):
        split(numbers(0), 0.1, 0)
    for share in (-0.1, 1.0):
        with pytest.raises(InputError, match=r"\[0, 1\)"):
            split(numbers(4), share, 0)


def test_items_with_keys_stay_on_their_side_whatever_happens_to_others():
    train, held = sides(NAMES)
    assert sides(NAMES[::-1]) == [train, held]
    more = sorted([*NAMES, *(f"photos/{i:04}b.png" for i in range(0, 1000, 3)), "a.png"])
    assert [side & set(NAMES) for side in sides(more)] == [train, held]
    fewer = set(NAMES[::2])
    assert sides(sorted(fewer)) == [train & fewer, held & fewer]
    assert sides(NAMES, seed=2) != [train, held]


def test_what_a_larger_share_holds_out_includes_what_a_smaller_one_did():
    assert sides(NAMES, held=0.1)[1] < sides(NAMES, held=0.2)[1]


def test_a_split_by_keys_holds_out_the_share_asked_for():
    # Binomial(20000, 0.25): the bound is 4.5 standard deviations, false alarm below 1e-5
    held = sides([f"{i}.png" for i in range(20_000)], held=0.25)[1]
    assert abs(len(held) - 5000) < 4.5 * (20_000 * 0.25 * 0.75) ** 0.5


def test_items_of_one_key_stay_together():
    train, held = split(Files([name for name in NAMES for _ in range(3)]), 0.3, seed=1)
    assert len(train) + len(held) == 3000
    assert not set(keys_of(train)) & set(keys_of(held))


def test_a_side_that_would_be_empty_gets_the_nearest_item_until_there_is_a_better_one():
    names = NAMES[:3]
    for seed in range(50):
        train, held = sides(names, held=0.01, seed=seed)
        assert len(held) >= 1 and len(train) >= 1
        later = sides(NAMES, held=0.01, seed=seed)
        moved = (train & later[1]) | (held & later[0])
        assert moved <= held  # only the one that stood in may go back
    assert [len(side) for side in split(Files(["a", "a"]), 0.5, seed=0)] in ([0, 2], [2, 0])


def test_keys_pass_through_subsets_and_are_none_where_there_are_none():
    data = Files(NAMES)
    assert isinstance(data, Keyed) and not isinstance(numbers(3), Keyed)
    assert keys_of(subset(data, [7, 3])) == [NAMES[7], NAMES[3]]
    assert keys_of(subset(subset(data, [7, 3]), [1])) == [NAMES[3]]
    assert keys_of(subset(numbers(10), [7, 3])) is None
    part = split(subset(data, range(500, 1000)), 0.3, seed=1)
    assert [set(keys_of(side)) for side in part] == sides(NAMES[500:])


def test_another_number_of_keys_is_refused():
    wrong = Files(NAMES)
    wrong.names.pop()
    with pytest.raises(InputError, match="has 1000 items, but 999 keys"):
        split(wrong, 0.1, 0)


class Pieces(Files):
    """Pieces of `length` frames of recordings, each `every` frames after the one before."""

    def __init__(self, length=10, every=3, **counts):
        spans = [(k * every, k * every + length) for n in counts.values() for k in range(n)]
        super().__init__([name for name, n in counts.items() for _ in range(n)])
        object.__setattr__(self, "frames", spans)

    def spans(self):
        return self.frames


def frames_of(data):
    """All (recording, frame) of a data set."""
    rows = zip(keys_of(data), spans_of(data), strict=True)
    return {(name, frame) for name, span in rows for frame in range(*span)}


@pytest.mark.parametrize("held", [0.01, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("counts", [{"a": 100}, {"a": 5}, {"a": 30, "b": 30, "c": 30}])
def test_no_frame_of_a_recording_is_on_both_sides(counts, held):
    for seed in range(5):
        train, out = split(Pieces(**counts), held, seed)
        assert len(train) and len(out)
        assert not frames_of(train) & frames_of(out)


def test_one_recording_is_split_by_time_and_several_whole():
    data = Pieces(a=100)
    train, held = split(data, 0.1, seed=0)
    assert list(held.index) == list(range(90, 100))  # the end, whatever the seed
    assert list(train.index) == list(range(87))  # three pieces reach over the border
    assert split(data, 0.1, seed=5)[1].index == held.index
    later, last = split(train, 0.1, seed=0)  # a part of a part
    assert list(last.index) == list(range(78, 87)) and len(later) == 75
    assert [len(side) for side in split(data, 0.0, seed=0)] == [100, 0]
    assert [len(side) for side in split(Pieces(a=1), 0.1, seed=0)] == [1, 0]
    sides = [set(keys_of(side)) for side in split(Pieces(a=30, b=30, c=30), 0.3, seed=0)]
    assert sides[0] | sides[1] == set("abc") and not sides[0] & sides[1]
    apart = split(Pieces(every=10, a=20), 0.1, seed=0)
    assert [len(side) for side in apart] == [18, 2]  # what does not overlap is all used


def test_a_recording_that_is_too_short_to_split_is_told():
    with pytest.raises(InputError, match="all 4 pieces of the one recording overlap"):
        split(Pieces(a=4), 0.1, seed=0)
    wrong = Pieces(a=4)
    wrong.frames.pop()
    with pytest.raises(InputError, match="4 items, but spans of 3"):
        split(wrong, 0.1, 0)


def test_a_split_never_changes_between_releases():
    """Runs trust their split: these values are a promise."""
    assert sorted(sides(NAMES[:40], held=0.2, seed=3)[1]) == HELD_BY_KEY
    assert list(split(numbers(40), 0.2, 3)[1].index) == HELD_BY_INDEX


class Kinds(Tensors):
    """Items of the groups 1, 0, 0, 2, 0, 1."""

    def __init__(self, groups=(1, 0, 0, 2, 0, 1)):
        super().__init__(torch.arange(6)[:, None])
        object.__setattr__(self, "kinds", groups)

    def groups(self):
        return self.kinds


def test_parts_of_a_data_set_keep_their_groups():
    assert groups_of(numbers(3)) is None
    assert groups_of(subset(numbers(3), [0])) is None
    assert groups_of(subset(subset(Kinds(), [5, 3, 1, 0]), [1, 0, 2])) == [2, 1, 0]
    train, held = split(Kinds(), 0.5, 0)
    assert sorted([*groups_of(train), *groups_of(held)]) == [0, 0, 0, 1, 1, 2]
    with pytest.raises(InputError, match="6 items, but groups for 2"):
        groups_of(Kinds((0, 1)))


def test_what_is_alike_is_group_0_or_everything():
    plain = numbers(3)
    assert alike(plain) is plain
    assert alike(Kinds()).batch(range(3)).x[:, 0].tolist() == [1, 2, 4]
    assert len(alike(Kinds((1,) * 6))) == 0


class Published(Tensors):
    """Items of which some are the test part."""

    def test_part(self):
        return self.condition["tested"].nonzero()[:, 0].tolist()


def test_the_test_part_of_the_data_can_be_what_is_held_out():
    tested = torch.arange(20) % 4 == 1
    data = Published(torch.arange(20)[:, None], {"tested": tested})
    assert isinstance(data, Parted) and not isinstance(numbers(3), Parted)
    train, held = split(data, None, seed=0)
    assert list(held.index) == [1, 5, 9, 13, 17]
    assert list(train.index) == [i for i in range(20) if i % 4 != 1]
    assert list(split(data, 0.2, 3)[1].index) == list(split(numbers(20), 0.2, 3)[1].index)


def test_data_without_a_test_part_cannot_be_split_by_it():
    with pytest.raises(InputError, match=r"no test part of its own; .* such as held=0.1"):
        split(numbers(9), None, 0)


class Many:
    """So many items with names that are made when they are asked for."""

    about = {}

    def __len__(self):
        return 100_000

    def __iter__(self):
        return map(str, range(len(self)))

    def batch(self, index):
        raise NotImplementedError

    def keys(self):
        return self


def test_a_split_takes_few_bytes_of_memory_for_each_item():
    """Windows of a corpus that is larger than memory are many: 40 bytes of each were kept."""
    tracemalloc.start()
    parts = split(Many(), 0.1, 0)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, parts)) == 100_000
    assert kept < 10 * 100_000 and peak < 45 * 100_000
