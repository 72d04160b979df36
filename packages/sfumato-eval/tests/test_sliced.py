"""Sliced Wasserstein against closed forms and against scipy in one dimension."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from sfumato import Batch, InputError, random
from sfumato_eval import SlicedWasserstein, wasserstein


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape, dtype=torch.float64), random.derive(seed, "data"))


def score(metric: SlicedWasserstein, a: torch.Tensor, b: torch.Tensor) -> float:
    return metric.between(metric.summary(Batch(a)), metric.summary(Batch(b))).value


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 7), (1, 9), (6, 4), (50, 37), (300, 200)])
def test_one_dimension_equals_scipy(n, m):
    a, b = normal(1, n, 3), 2 * normal(2, m, 3).round(decimals=1)  # rounding makes ties
    ours = wasserstein(a, b, order=1)
    for k in range(3):
        assert abs(ours[k] - wasserstein_distance(a[:, k], b[:, k])) < 1e-10


@pytest.mark.parametrize(("n", "m"), [(6, 4), (50, 35), (12, 36)])
def test_unequal_sizes_equal_their_common_multiple(n, m):
    a, b, whole = normal(1, n, 4), normal(2, m, 4), math.lcm(n, m)
    repeated = [x.sort(0).values.repeat_interleave(whole // len(x), 0) for x in (a, b)]
    expected = (repeated[0] - repeated[1]).square().mean(0)
    assert torch.allclose(wasserstein(a, b, 2), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_a_shift_moves_every_projection_by_its_projection(order):
    a, shift = normal(3, 200, 5), torch.tensor([3.0, -1.0, 0.5, 0.0, 2.0]).double()
    metric = SlicedWasserstein(directions=64, order=order)
    moved = (shift @ metric.axes(5)).abs()
    expected = float(moved.pow(order).mean()) ** (1 / order)
    assert abs(score(metric, a, a[torch.randperm(200)] + shift) - expected) < 1e-12


def test_directions_are_uniform_on_the_sphere():
    """E|<d, u>| = |d| Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2)); |z| < 4.5 fails 7 in a million."""
    shift = torch.tensor([1.0, 2.0, -2.0]).double()
    axes = SlicedWasserstein(directions=20_000).axes(3)
    assert torch.allclose(axes.norm(dim=0), torch.ones(20_000, dtype=torch.float64))
    moved = (shift @ axes).abs()
    expected = 3 * math.gamma(1.5) / (math.sqrt(math.pi) * math.gamma(2.0))
    z = (float(moved.mean()) - expected) / (float(moved.std()) / math.sqrt(20_000))
    assert abs(z) < 4.5


def test_shifted_gaussians_reach_the_closed_form():
    """Noise of the means 0.42 sqrt(2/n) = 0.01 and of the directions 0.03: 4.5 of both is 0.15."""
    shift = torch.tensor([5.0, 0.0, 0.0, 0.0]).double()
    metric = SlicedWasserstein(directions=2000, order=1)
    expected = 5 * math.gamma(2.0) / (math.sqrt(math.pi) * math.gamma(2.5))
    assert abs(score(metric, normal(4, 4000, 4), normal(5, 4000, 4) + shift) - expected) < 0.15


def test_directions_depend_on_seed_and_dimension_alone():
    assert torch.equal(SlicedWasserstein(seed=1).axes(6), SlicedWasserstein(seed=1).axes(6))
    assert not torch.equal(SlicedWasserstein(seed=1).axes(6), SlicedWasserstein(seed=2).axes(6))


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="order 1 or 2"):
        SlicedWasserstein(order=3)
    with pytest.raises(InputError, match="directions >= 1"):
        SlicedWasserstein(directions=0)
    with pytest.raises(InputError, match="at least one item"):
        wasserstein(torch.zeros(0, 2), torch.zeros(3, 2))
    metric = SlicedWasserstein(directions=4)
    with pytest.raises(InputError, match="3 dimensions on one side and 2"):
        score(metric, torch.zeros(4, 3), torch.zeros(4, 2))
