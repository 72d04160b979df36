"""The systems that measure fields and chains: what their trials compute, and that it can fail."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Trial, random
from sfumato_eval.systems import gauge, geom, serialrep
from sfumato_eval.systems.desk import Desk


def tried(module, tmp_path, scale, seed=5):
    found = module.system.trial(Trial(seed, scale, "cpu", tmp_path, 1.0))
    assert all(math.isfinite(each.ratio) and each.n > 0 for each in found.values())
    assert {claim.key for claim in module.system.claims} <= set(found)
    return found


def test_trajectories_are_straight_and_the_prediction_arrives_first(tmp_path, monkeypatch):
    monkeypatch.setattr(geom, "STEPS", 100)
    found = tried(geom, tmp_path, 0.05)
    assert found["straight"].method < found["near"].method < 0.2
    assert found["arrival"].method > 1.5 * found["arrival"].baseline
    assert found["identity"].method < 1e-10 and found["jump-calls"].ratio < 1


def test_an_arrival_is_final():
    levels = torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert geom.arrival(levels, torch.tensor([0.5, 0.1, 0.3, 0.1])) == 1.0
    assert geom.arrival(levels, torch.tensor([0.1, 0.1, 0.1, 0.1])) == 4.0


def test_the_identity_fails_for_another_denoiser(monkeypatch):
    """With a bandwidth that is 1 per cent off the error is far above the bound of the claim."""
    from sfumato_methods.measures import geometry

    desk, exact = Desk(3, 20), geometry.mean_shift
    data = desk.target.sample(50, random.derive(3, "set"))
    assert geom.identity(desk.process, data, desk.start, desk.grid(8)) < 1e-10
    monkeypatch.setattr(geometry, "mean_shift", lambda x, y, h: exact(x, y, 1.01 * h))
    assert geom.identity(desk.process, data, desk.start, desk.grid(8)) > 1e-4


def test_the_gauge_leaves_the_law_and_spoils_the_dimension(tmp_path, monkeypatch):
    monkeypatch.setattr(gauge, "STEPS", 80)
    monkeypatch.setattr(gauge, "EXACT", 20)
    monkeypatch.setattr(gauge, "NEAR", 20)
    monkeypatch.setattr(gauge, "BATCH", 128)
    found = tried(gauge, tmp_path, 0.1)
    assert found["residual"].method < 1e-10 and found["density"].method < 0.1
    assert found["size"].method > 0.2
    assert found["right"].method == 1 and found["wrong"].method > 0.8
    assert found["restored"].method > 0.8


def test_the_plane_is_the_law_that_its_denoiser_is_of():
    plane = gauge.Plane(4)
    x, many = plane.noised(2000, random.derive(4, "x"))
    spread = torch.linalg.eigvalsh(x.T @ x / len(x)).sqrt()
    want = torch.tensor([gauge.OFF] * 7 + [1.0] * 3).double().square() + gauge.LEVEL**2
    assert torch.allclose(spread, want.sqrt(), rtol=0.15)
    assert torch.allclose(
        plane.field(x, many) - plane.r(x, many), plane.target.score(plane.process, x, many)
    )


def test_schedules_matter_and_priors_differ(tmp_path):
    found = tried(serialrep, tmp_path, 0.2)
    assert found["one"].ratio > 3 > 1 > found["equal"].ratio
    assert found["families"].ratio < 1.6 and found["fade"].ratio < 1
    from sfumato_methods.measures.serial import lattice

    points = lattice(*serialrep.POINTS)
    one, other = (serialrep.prior(1, i, points) for i in (0, 1))
    assert float(one.sum()) == pytest.approx(1) and not torch.allclose(one, other)
