"""Batches picked from, joined, gathered and moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfumato import Batch, InputError, Maybe, Padded, Ragged
from sfumato_data import Tensors, concatenate, gather, move, select


def test_gather_is_the_data_in_the_order_asked_for_whatever_the_chunk():
    data = Tensors(torch.arange(20)[:, None], {"c": torch.arange(20) ** 2})
    index = [3, 19, 0, 3, 7]
    for chunk in (1, 2, 100):
        batch = gather(data, index, chunk)
        assert batch.x[:, 0].tolist() == index
        assert batch.condition["c"].tolist() == [i * i for i in index]
    assert torch.equal(gather(data, chunk=3).x, data.x)
    with pytest.raises(InputError, match="chunk"):
        gather(data, chunk=0)
    with pytest.raises(InputError, match="no batches"):
        gather(data, [])


def test_ragged_and_padded_batches_join_item_by_item():
    one = Ragged(torch.tensor([1.0, 2.0]), torch.tensor([0, 0]), 1)
    two = Ragged(torch.tensor([3.0]), torch.tensor([1]), 2)
    joined = concatenate([Batch(one), Batch(two)]).x
    assert joined.items == 3 and joined.owner.tolist() == [0, 0, 2]
    assert joined.data.tolist() == [1.0, 2.0, 3.0]
    short = Padded(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool))
    long = Padded(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool))
    joined = concatenate([Batch(short), Batch(long)]).x
    assert joined.mask.tolist() == [[True, True, False], [True] * 3, [True] * 3]


def test_a_condition_that_some_batches_have_in_part_is_a_maybe():
    whole = Batch(torch.zeros(2, 1), {"c": torch.tensor([5, 6])})
    part = Batch(torch.zeros(2, 1), {"c": Maybe(torch.tensor([7, 8]), torch.tensor([True, False]))})
    both = concatenate([whole, part]).condition["c"]
    assert both.value.tolist() == [5, 6, 7, 8]
    assert both.present.tolist() == [True, True, True, False]
    again = select(concatenate([whole, part]), torch.tensor([3, 0])).condition["c"]
    assert again.value.tolist() == [8, 5] and again.present.tolist() == [False, True]


def test_batches_with_other_conditions_do_not_join():
    a, b = Batch(torch.zeros(1, 1), {"c": torch.zeros(1)}), Batch(torch.zeros(1, 1))
    with pytest.raises(InputError, match="conditions"):
        concatenate([a, b])


def test_facts_are_joined_per_item_kept_when_equal_and_left_out_when_not():
    a = Batch(torch.zeros(2, 1), about={"file": ["p", "q"], "unit": "K", "day": 1})
    b = Batch(torch.zeros(1, 1), about={"file": ["r"], "unit": "K", "day": 2})
    joined = concatenate([a, b])
    assert joined.about == {"file": ["p", "q", "r"], "unit": "K"}
    assert select(joined, torch.tensor([2, 0])).about == {"file": ["r", "p"], "unit": "K"}


def test_facts_may_be_arrays():
    a, b = (Batch(torch.zeros(1, 1), about={"affine": np.eye(4)}) for _ in range(2))
    c = Batch(torch.zeros(1, 1), about={"affine": 2 * np.eye(4)})
    assert np.array_equal(concatenate([a, b]).about["affine"], np.eye(4))
    assert concatenate([a, c]).about == {}


def test_moving_reaches_every_tensor_and_leaves_the_batch_alone():
    x = Ragged(torch.zeros(2), torch.tensor([0, 0]), 1)
    batch = Batch(x, {"c": Maybe(torch.zeros(1), torch.tensor([True]))}, {"unit": "K"})
    moved = move(batch, "meta")
    assert moved.x.data.device.type == moved.x.owner.device.type == "meta"
    assert moved.condition["c"].present.device.type == "meta"
    assert moved.about == {"unit": "K"}
    assert batch.x.data.device.type == "cpu"
