"""Precision, recall, density and coverage: their definitions, and the limits they are made for."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_eval import PRDC, measure
from sfumato_eval.prdc import Manifolds, manifolds, radii


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape, dtype=torch.float64), random.derive(seed, "data"))


def oracle(samples, real, k) -> Manifolds:
    """The definitions, item by item."""

    def ball(x, own):
        return sorted(math.dist(x, y) for j, y in enumerate(own) if own[j] is not x)[k - 1]

    samples, real = samples.tolist(), real.tolist()
    balls_real = [ball(x, real) for x in real]
    balls_samples = [ball(x, samples) for x in samples]
    inside = [
        [math.dist(x, y) <= r for x, r in zip(real, balls_real, strict=True)] for y in samples
    ]
    reached = [
        any(math.dist(x, y) <= r for y, r in zip(samples, balls_samples, strict=True)) for x in real
    ]
    return Manifolds(
        precision=sum(map(any, inside)) / len(samples),
        recall=sum(reached) / len(real),
        density=sum(map(sum, inside)) / (k * len(samples)),
        coverage=sum(map(any, zip(*inside, strict=True))) / len(real),
    )


@pytest.mark.parametrize(("block", "k"), [(1, 3), (7, 1), (7, 5), (1000, 3)])
def test_blocks_equal_the_definition(block, k):
    samples, real = 1.3 * normal(1, 40, 3), normal(2, 30, 3)
    found, expected = manifolds(samples, real, k, block), oracle(samples, real, k)
    assert vars(found) == pytest.approx(vars(expected), abs=1e-12)
    assert 0 < found.precision < 1 and 0 < found.recall <= 1


def test_ties_of_whole_numbers_and_duplicates_are_counted():
    """Borders belong to the balls; a ball of radius 0 holds its duplicates."""
    samples = random.integers(0, 4, (60, 2), random.derive(1, "ids")).double()
    real = random.integers(1, 5, (50, 2), random.derive(2, "ids")).double()
    assert vars(manifolds(samples, real, 3, 16)) == pytest.approx(vars(oracle(samples, real, 3)))
    far = normal(3, 20, 5).repeat_interleave(4, 0) + 1e5
    assert not radii(far - far.mean(0).round(), 3).any()
    copied = manifolds(far, far, 3)
    assert (copied.precision, copied.recall, copied.coverage) == (1, 1, 1)


def test_equal_laws_reach_the_closed_forms():
    """Density is 1 on average; coverage 1 - [(n-1)..(n-k)] / [(2n-1)..(2n-k)] (Naeem et al., (9)).

    Sixteen repeats of n = 150, k = 3: 4.5 standard errors of their mean, 7 in a million seeds.
    """
    n, k = 150, 3
    runs = [manifolds(normal(2 * i, n, 3), normal(2 * i + 1, n, 3), k) for i in range(16)]
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    for name, mean in (("density", 1.0), ("coverage", expected)):
        values = torch.tensor([getattr(run, name) for run in runs])
        assert abs(values.mean() - mean) < 4.5 * values.std() / 4, name


def test_a_dropped_mode_costs_recall_and_coverage_but_no_precision():
    centres = torch.tensor([[0.0, 0.0], [20.0, 0.0]]).double()
    side = torch.arange(400) % 2
    real, fresh = (centres[side] + normal(s, 400, 2) for s in (1, 2))
    one = normal(3, 400, 2)
    whole, dropped = manifolds(fresh, real, 5), manifolds(one, real, 5)
    assert dropped.precision > 0.95 and dropped.density > 0.8
    assert dropped.recall < 0.55 < 0.9 < whole.recall
    assert dropped.coverage < 0.55 < 0.9 < whole.coverage


def test_samples_off_the_data_cost_precision_and_density_but_no_coverage():
    real = normal(1, 300, 2)
    noisy = torch.cat([normal(2, 300, 2), 30 + normal(3, 300, 2)])
    found = manifolds(noisy, real, 5)
    assert 0.45 < found.precision < 0.52 and 0.4 < found.density < 0.6 and found.coverage > 0.9
    apart = manifolds(30 + normal(4, 300, 2), real, 5)
    assert vars(apart) == dict(precision=0, recall=0, density=0, coverage=0)


def test_the_score_carries_all_four_and_the_floors_of_all_four():
    sides = [Batch(normal(s, 100, 3)) for s in (1, 2, 3)]
    found = measure(PRDC(k=4), *sides)
    assert found.better == "higher" and "k=4" in found.protocol
    rest = ("precision", "recall", "density")
    assert list(found.parts) == [*rest, *(f"{name} of the floor" for name in rest)]
    density = measure(PRDC(k=4, headline="density"), *sides)
    assert density.value == found.parts["density"] and density.parts["coverage"] == found.value
    assert density.floor == found.parts["density of the floor"]


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="at least 6 items on each side, not 5 and 9"):
        manifolds(torch.ones(5, 2), torch.ones(9, 2), 5)
    with pytest.raises(InputError, match="not k=0"):
        PRDC(k=0)
    with pytest.raises(InputError, match="headline='f1'"):
        PRDC(headline="f1")
