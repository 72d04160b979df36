"""The classifier two-sample test: its false alarms, its power, and its exact p-value."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import fisher_exact

from sfumato import Batch, InputError, random
from sfumato_eval import C2ST, measure
from sfumato_eval.c2st import _fisher, tell_apart


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape), random.derive(seed, "data"))


def verdict(a: torch.Tensor, b: torch.Tensor, steps: int = 100):
    return tell_apart(a, b, seed=0, width=16, steps=steps)


@pytest.mark.parametrize(
    ("hits", "called", "each"), [(3, 5, 10), (0, 0, 4), (9, 11, 10), (4, 8, 4)]
)
def test_the_p_value_is_fishers(hits, called, each):
    rest = called - hits
    table = [[hits, rest], [each - hits, each - rest]]
    assert _fisher(hits, called, each) == pytest.approx(fisher_exact(table, "greater")[1])


def test_equal_laws_are_told_apart_as_rarely_as_the_p_value_says():
    """60 pairs: accuracy 0.5 within 4.5 standard errors, and P(p <= 0.1) <= 0.1.

    18 or more of 60 at a chance of 0.1 occur in fewer than 2 of 100,000 seeds.
    """
    found = [verdict(normal(2 * i, 60, 2), normal(2 * i + 1, 60, 2), 10) for i in range(60)]
    accuracy = torch.tensor([f.accuracy for f in found])
    assert abs(accuracy.mean() - 0.5) < 4.5 * 0.5 / math.sqrt(60 * 60)
    assert sum(f.p_value <= 0.1 for f in found) < 18
    assert all(f.tested == 60 for f in found)


def test_laws_apart_are_told_apart():
    found = verdict(normal(1, 100, 3), normal(2, 100, 3) + 20)
    assert found.accuracy == 1 and found.p_value < 1e-20


def test_a_difference_that_no_line_sees_is_found():
    """Equal means: widths 1 and 3. The best possible accuracy in 4 dimensions is about 0.94."""
    found = verdict(normal(1, 600, 4), 3 * normal(2, 600, 4), 300)
    assert 0.85 < found.accuracy < 0.99 and found.p_value < 1e-30


def test_the_verdict_is_a_function_of_the_data_and_the_seed():
    a, b = normal(1, 80, 3), normal(2, 80, 3) + 0.5
    state = torch.random.get_rng_state()
    one, two = verdict(a, b), verdict(a, b)
    assert one == two and torch.equal(state, torch.random.get_rng_state())
    other = tell_apart(a, b, seed=1, width=16, steps=100)
    assert other != one


def test_constant_features_and_unequal_sides_are_no_trouble():
    a = torch.cat([normal(1, 90, 2), torch.ones(90, 1)], 1)
    b = torch.cat([normal(2, 40, 2) + 8, torch.ones(40, 1)], 1)
    assert verdict(a, b).accuracy == 1 and verdict(a, b).tested == 40


def test_the_score_has_a_floor_and_its_p_value():
    sides = [Batch(normal(s, 200, 3) + shift) for s, shift in ((1, 2.0), (2, 0.0), (3, 0.0))]
    found = measure(C2ST(steps=100), *sides)
    assert found.value > 0.9 and 0.3 < found.floor < 0.7
    assert found.parts["p-value"] < 1e-10 < 1e-4 < found.parts["p-value of the floor"]
    assert "on 200 items" in found.protocol


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="at least 10 items on each side, not 9 and 30"):
        verdict(torch.ones(9, 2), torch.ones(30, 2))
    with pytest.raises(InputError, match="not 0 and 300"):
        C2ST(width=0)
