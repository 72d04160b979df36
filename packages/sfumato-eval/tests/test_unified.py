"""What a network may predict is one thing in several words, exactly."""

from __future__ import annotations

import pytest
import torch

from sfumato import Dirac, InputError, kl
from sfumato_eval.systems import unified

PAIRS = [(a, b) for a in unified.KINDS for b in unified.KINDS if a != b]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids="-".join)
def test_each_of_the_twenty_conversions_goes_there_and_back(source, target):
    for process, _, x, t, mean in unified.states(7, 32):
        exact = {kind: unified.prediction(kind, process, mean, x, t) for kind in (source, target)}
        there = unified.convert(exact[source], source, target, process, x, t)
        back = unified.convert(there, target, source, process, x, t)
        for found, wanted in ((there, exact[target]), (back, exact[source])):
            assert (found - wanted).abs().max() <= 1e-10 * wanted.abs().max()


def test_predictions_are_what_their_names_say():
    for process, x0, x, t, _ in unified.states(3, 16):
        alpha, sigma = process.alpha(t), process.sigma(t)
        said = {kind: unified.prediction(kind, process, x0, x, t) for kind in unified.KINDS}
        assert torch.allclose(alpha * said["x0"] + sigma * said["eps"], x, atol=1e-12)
        assert torch.allclose(said["flow"], said["eps"] - x0, atol=1e-12)
        assert torch.allclose(said["score"] * sigma, -said["eps"], atol=1e-9)
        size = (alpha.square() + sigma.square()).sqrt()
        assert torch.allclose(said["v"] * size, alpha * said["eps"] - sigma * x0, atol=1e-12)
    rate = unified.processes()["linear"]
    velocity = rate.velocity(Dirac(x0), x, torch.tensor(0.4).double())
    flow = unified.prediction("flow", rate, x0, x, torch.tensor(0.4).double())
    assert torch.allclose(velocity, flow, atol=1e-12)


def test_the_errors_of_the_trial_are_at_the_level_of_float64():
    assert unified.conversions(0, 32) < 1e-10
    assert unified.tweedie(0, 32) < 1e-10
    assert unified.bound(0, 32) < 1e-8


def test_five_heads_draw_equal_samples():
    assert unified.heads(0, 8) < 1e-8


def test_a_wrong_conversion_is_seen(monkeypatch):
    right = unified.prediction

    def slip(kind, process, x0, x, t):
        said = right(kind, process, x0, x, t)
        return said * 1.000001 if kind == "v" else said

    monkeypatch.setattr(unified, "prediction", slip)
    assert unified.conversions(0, 8) > 1e-7
    assert unified.heads(0, 4) > 1e-8


def test_the_term_of_the_bound_between_any_two_times():
    process = unified.processes()["vp"]
    t, s = (torch.tensor(v, dtype=torch.float64) for v in (0.9, 0.05))
    x0, guess = torch.eye(3, 4, dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64)
    x = torch.zeros(3, 4, dtype=torch.float64)
    term = kl(process.bridge(x0, x, t, s), process.transition(Dirac(guess), x, t, s))
    rise = process.logsnr(s).exp() - process.logsnr(t).exp()
    assert torch.allclose(term, 0.5 * rise * torch.full((3,), 3.0).double(), rtol=1e-9)


def test_an_unknown_head_is_refused():
    process = unified.processes()["vp"]
    one = torch.ones(1, 2)
    with pytest.raises(InputError, match="cannot predict 'noise'"):
        unified.clean("noise", one, process, one, torch.tensor(0.5))
