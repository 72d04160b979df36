"""States: arithmetic, alignment with times, sums per item, selecting and joining items."""

import pytest
import torch

from sfumato import Fields, InputError, Padded, Ragged, expand
from sfumato.state import (
    apply,
    axpy,
    item_count,
    item_sum,
    items,
    leaf,
    scale,
    select,
    to,
    where,
)

OWNER = torch.tensor([0, 0, 0, 2, 2])  # the item in the middle is empty
RAGGED = Ragged(torch.arange(10.0).reshape(5, 2), OWNER, 3)
MASK = torch.tensor([[True, True, False], [True, False, False]])
PADDED = Padded(torch.arange(12.0).reshape(2, 3, 2), MASK)
FIELDS = Fields(a=torch.ones(3, 2), b=RAGGED)


def test_containers_do_arithmetic_like_vectors():
    assert torch.equal((2 * RAGGED - RAGGED / 2 + 1).data, RAGGED.data * 1.5 + 1)
    assert torch.equal((PADDED * PADDED).data, PADDED.data.square())
    assert torch.equal((-(FIELDS + FIELDS))["b"].data, -2 * RAGGED.data)
    assert torch.equal((FIELDS * Fields(a=2.0, b=3.0))["b"].data, 3 * RAGGED.data)
    assert torch.equal(RAGGED.data, torch.arange(10.0).reshape(5, 2))  # nothing was changed


def test_rows_of_ragged_items_know_their_place():
    assert RAGGED.counts.tolist() == [3, 0, 2]
    assert RAGGED.position.tolist() == [0, 1, 2, 0, 1]


def test_times_align_with_the_leading_dimensions():
    x = torch.zeros(2, 3, 4, dtype=torch.float32)
    per_item, per_frame = torch.tensor([0.1, 0.2]), torch.rand(2, 3, generator=torch.Generator())
    assert expand(x, torch.tensor(0.5, dtype=torch.float64)).dtype == torch.float32
    assert expand(x, per_item).shape == (2, 1, 1)
    assert torch.equal(expand(x, per_frame)[..., 0], per_frame)
    assert expand(x, torch.tensor([True, False])).dtype == torch.bool
    assert expand(x.long(), per_item.double()).dtype == torch.float64
    assert expand(PADDED, per_item).shape == (2, 1, 1)


def test_times_align_with_ragged_rows():
    per_item = torch.tensor([1.0, 2.0, 3.0])
    assert expand(RAGGED, per_item)[:, 0].tolist() == [1, 1, 1, 3, 3]
    per_frame = torch.arange(12.0).reshape(3, 4)
    assert expand(RAGGED, per_frame)[:, 0].tolist() == [0, 1, 2, 8, 9]
    assert expand(RAGGED, per_frame[:1])[:, 0].tolist() == [0, 1, 2, 0, 1]


def test_each_field_may_have_its_clock():
    both = expand(FIELDS, {"a": torch.tensor(1.0), "b": torch.tensor([1.0, 2.0, 3.0])})
    assert both["a"].shape == (1, 1) and both["b"].shape == (5, 1)
    assert expand(FIELDS, torch.tensor([1.0, 2.0, 3.0]))["a"].shape == (3, 1)


@pytest.mark.parametrize(
    ("x", "t", "says"),
    [
        (torch.zeros(2, 3), torch.zeros(3), r"shape \(3,\) does not fit a state of shape \(2, 3\)"),
        (torch.zeros(2), torch.zeros(2, 1), "per frame"),
        (RAGGED, torch.zeros(5), "3 ragged items"),
        (RAGGED, torch.zeros(3, 2), "F at least the longest item"),
        (torch.zeros(2), {"a": torch.zeros(())}, "needs a state of Fields"),
        (RAGGED, {"a": torch.zeros(())}, "needs a state of Fields"),
        (FIELDS, {"a": torch.zeros(())}, "field 'b' is missing"),
    ],
)
def test_times_that_do_not_fit_are_refused(x, t, says):
    with pytest.raises(InputError, match=says):
        expand(x, t)


def test_what_is_no_state_is_refused():
    for call in (lambda: expand([1.0], torch.zeros(())), lambda: apply("x", len)):
        with pytest.raises(TypeError, match="state"):
            call()


def test_planned_coefficients_multiply_any_state():
    per_item = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(scale(2.0, RAGGED).data, 2 * RAGGED.data)
    assert torch.equal(scale(per_item, RAGGED).data, RAGGED.data * expand(RAGGED, per_item))
    x, y = torch.randn(2, 3, 4, generator=torch.Generator(), dtype=torch.float64)
    assert torch.allclose(axpy(0.3, x, y), 0.3 * x + y, rtol=1e-15)
    assert torch.equal(axpy(per_item, x, y), y + x * per_item[:, None])
    mixed = axpy(per_item, FIELDS, FIELDS)
    assert torch.equal(mixed["a"], FIELDS["a"] * (1 + per_item[:, None]))
    each = scale({"a": 2.0, "b": per_item}, FIELDS)
    assert torch.equal(each["a"], 2 * FIELDS["a"])
    assert torch.equal(each["b"].data, scale(per_item, FIELDS["b"]).data)


def test_where_picks_entry_by_entry():
    late = torch.tensor([True, False, True])
    picked = where(expand(FIELDS, late), FIELDS, FIELDS * 0)
    assert picked["a"][:, 0].tolist() == [1, 0, 1]
    assert torch.equal(picked["b"].data, RAGGED.data)


def test_sums_per_item_see_only_what_is_valid():
    assert item_sum(torch.ones(2, 3, 4)).tolist() == [12, 12]
    assert item_sum(RAGGED).tolist() == [0 + 1 + 2 + 3 + 4 + 5, 0, 6 + 7 + 8 + 9]
    spoiled = Padded(torch.where(MASK[..., None], PADDED.data, torch.nan), MASK)
    assert item_sum(spoiled).tolist() == [0 + 1 + 2 + 3, 6 + 7]
    assert item_count(RAGGED).tolist() == [6, 0, 4]
    assert item_count(PADDED).tolist() == [4, 2]
    assert item_count(FIELDS).tolist() == [8, 2, 6]
    assert item_count(torch.zeros(2, dtype=torch.long)).tolist() == [1, 1]


def test_pairs_of_padded_items_may_be_masked():
    pairs = MASK[:, :, None] & MASK[:, None, :]
    assert item_count(Padded(torch.zeros(2, 3, 3, 5), pairs)).tolist() == [20, 5]


@pytest.mark.parametrize("x", [torch.arange(6.0).reshape(3, 2), RAGGED, PADDED, FIELDS])
def test_items_turned_around_twice_are_as_before(x):
    back = torch.arange(items(x)).flip(0)
    turned = select(select(x, back), back)
    for a, b in zip(_tensors(turned), _tensors(x), strict=True):
        assert torch.equal(a, b)


def _tensors(x):
    if isinstance(x, Fields):
        return [t for v in x.values() for t in _tensors(v)]
    return [leaf(x), x.owner] if isinstance(x, Ragged) else [leaf(x)]


def test_ragged_items_may_be_taken_again_or_not_at_all():
    again = select(RAGGED, torch.tensor([2, 1, 0, 2]))
    assert again.counts.tolist() == [2, 0, 3, 2] and again.owner.tolist() == [0, 0, 2, 2, 2, 3, 3]
    assert torch.equal(again.data, RAGGED.data[[3, 4, 0, 1, 2, 3, 4]])
    assert items(select(RAGGED, torch.tensor([], dtype=torch.long))) == 0


def test_fields_that_disagree_on_their_items_are_refused():
    with pytest.raises(InputError, match="disagree"):
        items(Fields(a=torch.zeros(2), b=torch.zeros(3)))


def test_moving_keeps_the_layout():
    moved = to(FIELDS, torch.float64)
    assert moved["b"].data.dtype == torch.float64 and moved["b"].owner.dtype == torch.long
    assert to(PADDED, torch.float64).mask.dtype == torch.bool
