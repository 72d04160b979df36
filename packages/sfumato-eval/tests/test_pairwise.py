"""Distances between the items of pairs."""

from __future__ import annotations

import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_eval import Features, apart, pixels


def noise(n, d, seed):
    return Batch(random.normal(torch.empty(n, d, dtype=torch.float64), random.derive(seed)))


def test_equal_items_are_nowhere_apart_and_a_shift_is_its_size():
    x = noise(7, 5, 0)
    assert apart(pixels, x, x).value == 0
    score = apart(pixels, x, Batch(x.x + torch.arange(7.0)[:, None]))
    assert score.value == pytest.approx(3) and score.n == 7 and score.better == "lower"
    assert score.parts["standard error"] == pytest.approx(torch.arange(7.0).std().item() / 7**0.5)


def test_items_that_have_nothing_in_common_are_the_root_of_two_apart():
    n, d = 600, 200
    score = apart(pixels, noise(n, d, 1), noise(n, d, 2))
    # the mean of sqrt(2 chi^2_d / d) is sqrt(2) (1 - 1/(4 d)), its deviation 1/sqrt(d)
    assert abs(score.value - 2**0.5 * (1 - 1 / (4 * d))) < 4.5 / (n * d) ** 0.5  # 1e-5


def test_it_is_taken_in_the_features():
    score = apart(Features("tenfold", lambda b: 10 * b.x), noise(4, 3, 1), noise(4, 3, 2))
    plain = apart(pixels, noise(4, 3, 1), noise(4, 3, 2))
    assert score.value == pytest.approx(10 * plain.value) and "features tenfold" in score.protocol


def test_pairs_that_do_not_match_are_told():
    with pytest.raises(InputError, match="3 items were made for 4 targets"):
        apart(pixels, noise(4, 2, 0), noise(3, 2, 0))
