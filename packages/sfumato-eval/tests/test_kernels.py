"""The kernel distances: unbiased, equal to their definition, independent of the blocks."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_eval import KID, MMD, unbiased_mmd


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape, dtype=torch.float64), random.derive(seed, "data"))


def score(metric, a: torch.Tensor, b: torch.Tensor) -> float:
    return metric.between(metric.summary(Batch(a)), metric.summary(Batch(b))).value


def naive(a, b, k):
    """The definition, pair by pair."""
    n, m = len(a), len(b)
    within = [
        sum(k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j) for x in (a, b)
    ]
    across = sum(k(x, y) for x in a for y in b)
    return float(within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * across / (n * m))


@pytest.mark.parametrize("block", [1, 3, 8, 100])
def test_blocks_do_not_change_the_statistic(block):
    a, b = normal(1, 17, 3), 1.5 * normal(2, 12, 3)
    found = unbiased_mmd(a, b, lambda x, y: (x @ y.T / 3 + 1) ** 3, block)
    assert abs(found - naive(a, b, lambda x, y: (x @ y / 3 + 1) ** 3)) < 1e-10


def test_kid_equals_its_definition():
    a, b = normal(1, 15, 4), normal(2, 20, 4) + 0.5
    assert abs(score(KID(), a, b) - naive(a, b, lambda x, y: (x @ y / 4 + 1) ** 3)) < 1e-10


def test_mmd_equals_its_definition_and_does_not_see_a_shift_of_both():
    a, b = normal(1, 15, 4), normal(2, 20, 4) + 0.5
    pairs = [(x - y).square().sum() for i, x in enumerate(b) for y in b[:i]]
    square = sum(pairs) / len(pairs)

    def k(x, y):
        gap = (x - y).square().sum()
        return sum(torch.exp(-gap / (2 * c * c * square)) for c in (0.5, 2.0)) / 2

    metric = MMD(scales=(0.5, 2.0))
    assert abs(score(metric, a, b) - naive(a, b, k)) < 1e-10
    assert abs(score(metric, a + 1e4, b + 1e4) - naive(a, b, k)) < 1e-10


def z_of(statistic) -> float:
    """z of the mean over 300 pairs of sets of equal law, n = 20 and 30."""
    values = torch.tensor(
        [statistic(normal(2 * i, 20, 2), normal(2 * i + 1, 30, 2)) for i in range(300)]
    )
    return float(values.mean() / (values.std() / math.sqrt(len(values))))


@pytest.mark.parametrize("metric", [KID(), MMD()], ids=["kid", "mmd"])
def test_equal_laws_give_zero_on_average(metric):
    """|z| < 4.5: about 7 false alarms in a million seeds.

    The length of the Gaussian kernels follows one side, a relation too weak to be seen here.
    """
    assert abs(z_of(lambda a, b: score(metric, a, b))) < 4.5


def test_the_biased_statistic_would_be_seen():
    def biased(a, b):
        k = lambda x, y: (x @ y.T / 2 + 1) ** 3  # noqa: E731
        return float(k(a, a).mean() + k(b, b).mean() - 2 * k(a, b).mean())

    assert z_of(biased) > 10


@pytest.mark.parametrize("metric", [KID(), MMD()], ids=["kid", "mmd"])
def test_unlike_laws_stand_out_of_the_floor(metric):
    held, train, wide = normal(1, 400, 3), normal(2, 400, 3), 1.5 * normal(3, 400, 3)
    assert score(metric, wide, held) > 10 * abs(score(metric, train, held))


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="at least 2 items on each side, not 1 and 4"):
        score(KID(), torch.ones(1, 2), torch.ones(4, 2))
    with pytest.raises(InputError, match="at least 2 items on each side, not 4 and 1"):
        score(MMD(), torch.ones(4, 2), torch.ones(1, 2))
    with pytest.raises(InputError, match="all items of the second side are equal"):
        score(MMD(), normal(1, 4, 2), torch.ones(4, 2))
    with pytest.raises(InputError, match="positive finite scales"):
        MMD(scales=(1.0, 0.0))
    with pytest.raises(InputError, match="2 dimensions on one side and 3"):
        score(KID(), torch.ones(4, 2), torch.ones(4, 3))
