"""The systems of the continuous processes at a small scale: what they measure, and its limits."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Trial
from sfumato_eval.systems import agm, fdm, mdm, pfgmpp
from sfumato_eval.systems.desk8 import BATCH, Digits8
from sfumato_methods.gaussian import cld, edm


def tried(module, tmp_path, scale, seed=105):
    found = module.system.trial(Trial(seed, scale, "cpu", tmp_path, 1.0))
    assert all(math.isfinite(each.ratio) and each.n > 0 for each in found.values())
    assert {claim.key for claim in module.system.claims} <= set(found)
    return found


def test_agm_tells_the_data_early(tmp_path):
    assert tried(agm, tmp_path, 0.05)["middle"].ratio < 0.8


def test_the_limit_of_pfgmpp_falls_with_the_dimensions():
    near, far = pfgmpp.limit(105, 1e4), pfgmpp.limit(105, 16)
    assert near < 0.01 * far


def test_the_transition_of_mdm_is_that_of_vp():
    assert 0 < mdm.transition_error() < 1e-8


@pytest.fixture(scope="module")
def digits():
    return Digits8(105)


def test_digits_are_nearer_to_digits_than_noise_is(digits):
    noise = torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    near = digits.frechet(digits.train[:500], digits.held)
    assert 10 * near < digits.frechet(noise, digits.held)


def test_the_arms_of_fdm_differ_and_their_steps_are_counted(digits):
    steps = 2 * fdm.LOOKS
    plain, other = (fdm.arm(digits, momentum, False, steps, 50) for momentum in (False, True))
    assert len(plain) == fdm.LOOKS and plain != other
    assert plain == fdm.arm(digits, False, False, steps, 50)
    assert fdm.reached([3.0, 2.0, 1.0], 2.5, 160) == 20
    assert fdm.reached([3.0] * fdm.LOOKS, 1.0, 160) == 170


def test_quantisation_rounds_and_leaves_the_original(digits):
    denoiser = pfgmpp.trained(digits, edm(), 2)
    before = [p.clone() for p in denoiser.parameters()]
    rounded = pfgmpp.quantised(denoiser)
    assert all(map(torch.equal, denoiser.parameters(), before))
    matrix = rounded.net.first.weight
    assert len(matrix.unique()) <= 2**pfgmpp.BITS
    assert not torch.equal(matrix, denoiser.net.first.weight)


def test_the_bound_of_mdm_falls_with_training(digits):
    few, more = (mdm.bound(digits, cld(), steps, 1) for steps in (1, 25))
    assert more < few
    assert BATCH % 4 == 0
