"""Joining states: items one by one give the whole, whatever the kind."""

import pytest
import torch

from sfumato import Fields, InputError, Padded, Ragged
from sfumato.state import item_sum, items, leaf, select
from sfumato_data import join

RAGGED = Ragged(torch.arange(10.0).reshape(5, 2), torch.tensor([0, 0, 0, 2, 2]), 3)
PADDED = Padded(
    torch.arange(12.0).reshape(2, 3, 2), torch.tensor([[True, True, False], [True, False, False]])
)
FIELDS = Fields(a=torch.ones(3, 2), b=RAGGED)


def tensors(x):
    if isinstance(x, Fields):
        return [t for v in x.values() for t in tensors(v)]
    return [leaf(x), x.owner] if isinstance(x, Ragged) else [leaf(x)]


@pytest.mark.parametrize("x", [torch.arange(6.0).reshape(3, 2), RAGGED, PADDED, FIELDS])
def test_items_selected_one_by_one_join_to_the_whole(x):
    whole = join([select(x, torch.tensor([i])) for i in range(items(x))])
    assert items(whole) == items(x)
    for a, b in zip(tensors(whole), tensors(x), strict=True):
        assert torch.equal(a, b)


def test_joining_pads_to_the_longest():
    short = Padded(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    joined = join([short, PADDED])
    assert joined.data.shape == (3, 3, 2) and joined.mask.sum(1).tolist() == [1, 2, 1]
    assert item_sum(joined).tolist() == [2, *item_sum(PADDED).tolist()]


def test_nothing_cannot_be_joined():
    with pytest.raises(InputError, match="no states"):
        join([])
