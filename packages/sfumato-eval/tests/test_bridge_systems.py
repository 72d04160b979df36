"""The systems of the bridges at a small scale: what they measure, and that it can fail."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Ancestral, Trial, random
from sfumato_eval.systems import dbim, ddbm, rddm
from sfumato_eval.systems.paired import NOISE, Pairs, published
from sfumato_eval.systems.restoring import Desk, blurred, holed
from sfumato_methods.bridges import ddbm as bridge
from sfumato_methods.grids import uniform


def tried(module, tmp_path, scale, seed=5):
    found = module.system.trial(Trial(seed, scale, "cpu", tmp_path, 1.0))
    assert all(math.isfinite(each.ratio) and each.n > 0 for each in found.values())
    assert {claim.key for claim in module.system.claims} <= set(found)
    return found


def test_the_denoiser_of_the_pairs_is_exact():
    """Its error is the least possible: no multiple of it, and no shift, does better."""
    pairs = Pairs(3, 4000, bridge())
    x0 = pairs.source - NOISE * random.normal(
        pairs.source, random.derive(3, "other", "source")
    )  # as they were drawn
    for t in (1.0, 0.6, 0.1):
        time = torch.tensor(t, dtype=torch.float64)
        x = pairs.process.marginal(x0, time).sample(random.derive(3, "x"))
        mean = pairs.denoise(x, time).mean
        off = x0 - mean
        for direction in (torch.ones_like(mean), mean, pairs.source, x):
            each = (off * direction).sum(1)
            assert abs(float(each.mean())) < 5 * float(each.std()) / 4000**0.5


def test_too_few_steps_are_seen_as_such():
    pairs = Pairs(3, 4000, bridge())
    close = pairs.distance(pairs.end(Ancestral(), published(30)))
    far = pairs.distance(pairs.end(Ancestral(), uniform(None, 1)))
    assert close < 1.2 * pairs.floor and far > 1.15 * close


def test_the_published_grid():
    grid = published(10)
    assert grid.shape == (11,) and (float(grid[0]), float(grid[-1])) == (1, 0)
    assert float(grid[1]) == pytest.approx(1 - 1e-4) and float(grid[-2]) == pytest.approx(1e-4)


def test_damage_is_what_it_says():
    x = torch.ones(2, 1, 8, 8)
    assert torch.allclose(blurred(x), x)
    spot = torch.zeros(1, 1, 8, 8)
    spot[0, 0, 4, 4] = 1
    assert float(blurred(spot)[0, 0, 4, 4]) == pytest.approx((6 / 16) ** 2)
    assert float(blurred(spot).sum()) == pytest.approx(1)
    assert float(holed(x).mean()) == 0.5


def test_the_desk_of_restoration_holds_images_out():
    desk = Desk(3, blurred, 100)
    assert (desk.n, len(desk.clean)) == (100, 1297)
    assert desk.error(desk.truth) == 0 and desk.distance(desk.truth) == desk.floor
    assert not any(bool((desk.clean == image).flatten(1).all(1).any()) for image in desk.truth[:5])
    assert desk.error(desk.source) > 0.02 and desk.distance(desk.source) > desk.floor


def test_ddbm_is_near_the_floor(tmp_path):
    found = tried(ddbm, tmp_path, 0.05)
    assert found["floor"].ratio < 1.3


def test_dbim_comes_back_and_needs_few_calls(tmp_path):
    found = tried(dbim, tmp_path, 0.04)
    assert found["coded"].ratio < 0.1 and found["5"].ratio < 1.5


def test_rddm_is_ddim_without_a_source(tmp_path):
    found = tried(rddm, tmp_path, 0.03)
    assert found["identity"].ratio < 1e-8 and found["error"].ratio > 0
