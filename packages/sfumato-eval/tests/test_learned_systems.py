"""The systems of learned processes at a small scale: what they measure, and that it can fail."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Dirac, Preconditioned, Trial, random
from sfumato_eval.systems import bounded, fpdiff, ndm, nfdm
from sfumato_methods.bounds import Continuous
from sfumato_methods.gaussian import VP, Gaussian, Linear, vp
from sfumato_testing import DiagonalMixture

LAW = DiagonalMixture(torch.zeros(1, 2), [-1.0, 0.8], [0.4, 0.6])


def pointed(process):
    exact = LAW.denoiser(process)
    return lambda x, t: Dirac(exact(x, t).mean.to(x))


@pytest.mark.parametrize("module", [fpdiff, nfdm, ndm], ids=["fpdiff", "nfdm", "ndm"])
def test_a_trial_measures_all_that_is_claimed(module, tmp_path, monkeypatch):
    """With two steps of training: the numbers are there and finite, whatever they say."""
    monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(module, "BATCH" if module is ndm else "HELD", 32)
    if module is nfdm:
        monkeypatch.setattr(nfdm, "FINE", 5)
        monkeypatch.setattr(nfdm, "LEGS", 3)
    if module is fpdiff:
        monkeypatch.setattr(fpdiff, "PATHS", 20)
        monkeypatch.setattr(fpdiff, "LEGS", 4)
    found = module.system.trial(Trial(100, 0.01, "cpu", tmp_path, 1.0))
    assert {claim.key for claim in module.system.claims} <= set(found)
    assert all(math.isfinite(each.ratio) and each.n > 0 for each in found.values())


def test_arms_start_from_the_same_weights_and_see_the_same_data():
    nets = [bounded.Net(2, 8, 1, random.derive(0, "weights")) for _ in range(2)]
    losses = [
        bounded.fitted(
            vp(),
            Preconditioned(net, vp(), "edm"),
            Continuous(1e-2),
            lambda generator: LAW.sample(16, generator).float(),
            3,
            random.derive(0, "training"),
        )
        for net in nets
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert bounded.count(nets[0]) == sum(p.numel() for p in nets[0].parameters())
    x, clock = torch.ones(2, 2), torch.zeros(2)
    assert not bounded.zeroed(nets[1])(x, clock).any() and nets[0](x, clock).any()


def test_training_lowers_the_bound():
    process = vp()
    denoiser = Preconditioned(bounded.Net(2, 16, 1, random.derive(1, "weights")), process, "edm")
    held = LAW.sample(500, random.derive(1, "held")).float()

    def nats():
        source = random.derive(1, "measure")
        return float(bounded.bound_of(process, denoiser, Continuous(1e-2), held, source).mean())

    before = nats()
    bounded.fitted(
        process,
        denoiser,
        Continuous(1e-2),
        lambda generator: LAW.sample(64, generator).float(),
        60,
        random.derive(1, "training"),
    )
    assert nats() < before - 0.2
    assert nats() > float(LAW.nll(held).mean()) - 0.05


@pytest.mark.parametrize(("schedule", "start"), [(VP(), 1e-3), (Linear(), 1e-2)], ids=repr)
def test_the_likelihood_of_the_flow_is_that_of_the_mixture(schedule, start):
    """With the exact denoiser: to 0.01 nats an item."""
    process, t = Gaussian(schedule), torch.tensor(start, dtype=torch.float64)
    x0 = LAW.sample(50, random.derive(0, "x")).float()
    x = process.marginal(x0, t).sample(random.derive(0, "noise"))
    got = nfdm.flow_nll(process, pointed(process), x, start)
    want = -LAW.log_density(process, x, t)
    assert abs(float((got - want).mean())) < 0.01


def test_a_checkerboard_has_log_8_nats_and_curved_paths_are_longer():
    x = nfdm.checkerboard(4000, random.derive(0, "board"))
    cell = (x + 2).floor().long()
    assert ((cell >= 0) & (cell < 4)).all() and ((cell[:, 0] + cell[:, 1]) % 2 == 0).all()
    share = torch.bincount(cell[:, 0] + 4 * cell[:, 1], minlength=16) / 4000
    assert sorted(share.gt(0.1).tolist()) == [False] * 8 + [True] * 8
    point = torch.tensor([[1.5, -1.0]])
    start = random.normal(torch.empty(64, 2), random.derive(0, "start"))
    straight = nfdm.curvature(Gaussian(Linear()), lambda x, t: Dirac(point.expand_as(x)), start)
    assert abs(straight) < 1e-5
    assert nfdm.curvature(vp(), pointed(vp()), start) > 0.01


def test_the_mixture_is_thirty_times_longer_than_wide():
    law = fpdiff.target(3)
    assert torch.allclose(
        law.variances.max(1).values / law.variances.min(1).values, torch.full((4,), 30.0).double()
    )
    assert not torch.equal(fpdiff.target(4).means, law.means)
