"""The systems of the samplers at a small scale: what they measure, and that it can fail."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Batch, Trial, random
from sfumato_eval.systems import ays, digits8, dmcmc, ersde, etsdm, evodiff, howmuch, lml, rex
from sfumato_eval.systems.desk import Desk
from sfumato_methods.solvers import DDIM, DPMSolverPP


def tried(module, tmp_path, scale, seed=5):
    found = module.system.trial(Trial(seed, scale, "cpu", tmp_path, 1.0))
    assert all(math.isfinite(each.ratio) and each.n > 0 for each in found.values())
    assert {claim.key for claim in module.system.claims} <= set(found)
    return found


def test_the_desk_is_a_function_of_its_seed_and_its_floor_is_between_data():
    one, two, other = Desk(3, 400), Desk(3, 400), Desk(4, 400)
    assert torch.equal(one.start, two.start) and one.floor == two.floor
    assert not torch.equal(one.target.means, other.target.means)
    same = one.distance(one.target.sample(400, random.derive(3, "third")))
    assert 0.5 * one.floor < same < 2 * one.floor
    assert one.distance(one.target.sample(400, random.derive(3, "data"))) == 0


def test_the_solution_of_the_desk_is_fine_enough():
    """Twice the steps of another solver change it by less than a hundredth of what is measured."""
    desk = Desk(6, 100)
    solution = desk.solution()
    other = desk.end(DPMSolverPP(), desk.grid(1500))
    gap = (other - solution).square().mean().sqrt()
    coarse = (desk.end(DPMSolverPP(), desk.grid(20)) - solution).square().mean().sqrt()
    assert float(gap) < 0.01 * float(coarse)


def test_ersde_is_closer_in_ten_calls_than_ancestral_sampling(tmp_path):
    found = tried(ersde, tmp_path, 0.05)
    assert found["order-3-10"].ratio < 0.8
    assert found["order-3-10"].method < found["order-1-10"].method


def test_ays_finds_a_lower_bound_than_equal_steps(tmp_path):
    found = tried(ays, tmp_path, 0.05)
    assert found["bound"].ratio < 0.8
    process = Desk(5, 10).process
    grids = ays.by_hand(process, 4).values()
    assert all(len(grid) == 5 and grid[0] == 1 and grid[-1] == 0 for grid in grids)
    ended, replaced = list(grids)[:2]
    assert float(80 * ended[-2]) == pytest.approx(ays.SIGMA_MIN)  # edm: sigma = 80 t
    assert float(80 * replaced[-2]) == pytest.approx(ays.SIGMA_MIN * (80 / ays.SIGMA_MIN) ** 0.25)


@pytest.mark.slow
@pytest.mark.parametrize("module", [etsdm, howmuch], ids=lambda module: module.__name__)
def test_the_systems_of_digits_measure_what_they_claim(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DRAWN", 100)
    found = tried(module, tmp_path, 0.01)
    if module is howmuch:  # at T = 0.4 the start alone decides: noise is no noised digit
        assert found["learned start"].method < found["noise as start"].method
        assert 0 < found["bound, learned start"].method < found["bound"].method


def test_a_network_of_digits_is_a_function_of_its_seed_and_learns():
    train, held = digits8.read(3)
    one, two, other = (digits8.trained(train, seed, 12) for seed in (3, 3, 4))
    x, t = random.normal(held.x[:5], random.derive(0, "x")), torch.tensor(0.2).double()
    assert torch.equal(one(x, t).mean, two(x, t).mean)
    assert not torch.equal(one(x, t).mean, other(x, t).mean)
    features = digits8.classifier_features(train, 3).function
    centres = torch.stack([features_of(features, train, digit).mean(0) for digit in range(10)])
    near = torch.cdist(features(Batch(held.x)), centres).argmin(1)
    assert float((near == held.label).float().mean()) > 0.9


def features_of(features, data, digit):
    with torch.no_grad():
        return features(Batch(data.x[data.label == digit]))


def test_evodiff_and_its_release_lie_on_different_sides(tmp_path):
    found = tried(evodiff, tmp_path, 0.05)
    assert found["consistent-10"].ratio < 1 < found["release-10"].ratio


def test_rex_comes_back_and_ddim_does_not(tmp_path):
    found = tried(rex, tmp_path, 0.05)
    assert found["ode"].method < 1e-8 and found["sde"].method < 1e-7
    assert found["ddim"].baseline > 1e-3


def test_lml_has_a_held_out_mixture(tmp_path):
    found = tried(lml, tmp_path, 0.03)
    assert found["collinear"].method < 1e-10 * found["collinear"].baseline
    desk = Desk(5, 100)
    plain = desk.end(DDIM(), desk.grid(lml.CALLS))
    assert found["paper-error"].baseline == pytest.approx(
        float((plain - desk.solution())[:100].square().mean().sqrt()), rel=0.5
    )


def test_the_levels_of_the_chain_are_the_densities_of_the_mixture():
    desk = Desk(2, 20)
    times = dmcmc._table(desk)
    v = desk.target.sample(5, random.derive(2, "v"))
    found = dmcmc.exact_levels(desk, times)(v)
    want = torch.stack([desk.target.log_density(desk.process, v, t) for t in times], 1)
    assert torch.allclose(found.softmax(1), want.softmax(1), rtol=1e-9, atol=1e-12)
    assert float(80 * times[0]) == pytest.approx(dmcmc.LOW)
    assert float(80 * times[-1]) == pytest.approx(dmcmc.HIGH)


def test_the_classifier_learns_the_level(monkeypatch):
    """Its cross-entropy comes near that of the exact law, and far below that of guessing."""
    desk = Desk(2, 20)
    times = dmcmc._table(desk)
    monkeypatch.setattr(dmcmc, "BATCH", 256)
    net = dmcmc.trained(desk, times, random.derive(2, "classifier"), 400)
    generator = random.derive(2, "test")
    pick = random.integers(0, len(times), (2000,), generator)
    x = desk.process.marginal(desk.target.sample(2000, generator), times[pick]).sample(generator)
    with torch.no_grad():
        loss = [
            float(torch.nn.functional.cross_entropy(levels(x).double(), pick))
            for levels in (net, dmcmc.exact_levels(desk, times))
        ]
    assert loss[1] < loss[0] < loss[1] + 0.8 and loss[0] < 0.8 * math.log(len(times))


def test_the_chains_give_all_their_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(dmcmc, "LINKS", 3)
    found = tried(dmcmc, tmp_path, 0.05)
    assert found["exact"].n == 3 * 12 and found["learned"].baseline == found["exact"].baseline
