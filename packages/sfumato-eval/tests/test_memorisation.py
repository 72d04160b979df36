"""Memorisation: copies are caught, fresh items are not, neighbours are the right ones."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_eval import Features, Memorisation, measure, nearest


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape), random.derive(seed, "data"))


TRAIN, HELD = Batch(normal(1, 1200, 5)), Batch(normal(2, 800, 5))


def score(samples: torch.Tensor):
    draw = random.derive(0, "evaluate")
    return measure(Memorisation.of(TRAIN), Batch(samples), HELD, TRAIN, generator=draw)


@pytest.mark.parametrize("block", [1, 7, 64, 5000])
def test_neighbours_equal_brute_force(block):
    queries, rows = normal(3, 50, 4), normal(4, 90, 4)
    gaps = (queries[:, None] - rows).double().norm(dim=2)
    found = nearest(queries, rows, block)
    assert torch.equal(found.index, gaps.argmin(1))
    assert torch.allclose(found.distance, gaps.amin(1), rtol=1e-6, atol=0)


def test_copies_are_at_distance_zero_even_far_from_the_origin():
    rows = normal(5, 300, 64) + 1e3
    found = nearest(rows[100:200], rows)
    assert torch.equal(found.index, torch.arange(100, 200)) and not found.distance.any()


def test_copied_items_are_caught():
    copies = TRAIN.x[:800]
    for samples in (copies, copies + 1e-3 * normal(6, 800, 5)):
        found = score(samples)
        assert found.value == 1 and found.parts["median distance ratio"] < 0.01
        assert found.ratio == pytest.approx(20, rel=0.01)


def test_half_copied_is_half_caught():
    """Copies count whole, the rest as fresh items: 0.5 + 0.5 p."""
    found = score(torch.cat([TRAIN.x[:400], normal(7, 400, 5)]))
    assert abs(found.value - 0.525) < 4.5 * math.sqrt(2 * 0.05 * 0.95 / 400) / 2


def test_fresh_items_score_their_quantile():
    """Both sides vary as binomials: |z| < 4.5, 7 false alarms in a million seeds."""
    found = score(normal(8, 800, 5))
    assert found.n == 800 and found.floor == pytest.approx(0.05, abs=1e-9)
    assert abs(found.value - 0.05) < 4.5 * math.sqrt(2 * 0.05 * 0.95 / 800)
    assert found.parts["median distance ratio"] == pytest.approx(1, abs=0.1)


def test_neighbours_and_protocol_are_those_of_the_whole_training_set():
    metric = Memorisation.of(TRAIN, Features("first two", lambda b: b.x[:, :2]), quantile=0.1)
    assert not metric.summary(Batch(TRAIN.x[1000:1010])).rows.any()
    found = measure(metric, Batch(normal(9, 100, 5)), Batch(HELD.x[:100]), Batch(TRAIN.x[:100]))
    assert found.n == 100 and found.floor == pytest.approx(0.1)
    assert "1200 training items" in found.protocol and "first two" in found.protocol


def test_bad_input_is_refused():
    for quantile in (0.0, 1.0):
        with pytest.raises(InputError, match=r"quantile in \(0, 1\)"):
            Memorisation(TRAIN.x, quantile=quantile)
    with pytest.raises(InputError, match="copies of training items"):
        measure(Memorisation.of(TRAIN), *[Batch(TRAIN.x[:20])] * 3)
    with pytest.raises(InputError, match="train, items 0 to 1: .* are NaN or infinite"):
        Memorisation.of(Batch(torch.tensor([[1.0], [math.nan]])))
    with pytest.raises(InputError, match="cannot be compared"):
        nearest(torch.ones(3, 2), torch.ones(3, 4))
    with pytest.raises(InputError, match="at least one is needed"):
        nearest(torch.ones(3, 2), torch.ones(0, 2))
