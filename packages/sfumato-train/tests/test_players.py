"""Learning rate and optimiser of a player."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import InputError
from sfumato_train import Settings
from sfumato_train.players import Player, rate


def linear(width, height, **options):
    with torch.random.fork_rng():
        return nn.Linear(width, height, **options)


def test_the_rate_rises_linearly_and_falls_as_a_cosine():
    settings = Settings(lr=0.1, warmup=9, steps=1000)
    assert rate(settings, 0) == pytest.approx(0.01)
    assert rate(settings, 4) == pytest.approx(0.05, rel=1e-4)
    assert rate(settings, 500) == pytest.approx(0.05)
    assert 0 < rate(settings, 999) < 1e-6
    after = [rate(settings, step) for step in range(10, 1000)]
    assert all(a > b for a, b in zip(after, after[1:], strict=False))


def test_a_constant_rate_stays():
    settings = Settings(lr=0.1, warmup=1, steps=10, decay="constant")
    assert [rate(settings, step) for step in (0, 1, 9)] == pytest.approx([0.05, 0.1, 0.1])


def test_decay_acts_on_matrices_alone():
    net = linear(3, 2)
    before = [p.detach().clone() for p in net.parameters()]
    player = Player("p", net, Settings(lr=0.1, weight_decay=0.5, warmup=0, decay="constant"), None)
    player.add(net(torch.zeros(1, 3)).sum() * 0)
    player.update(0)
    assert torch.allclose(net.weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(net.bias, before[1])


def test_the_step_is_that_of_adamw_on_the_clipped_gradient():
    torch_net, net = linear(2, 1, bias=False), linear(2, 1, bias=False)
    net.load_state_dict(torch_net.state_dict())
    settings = Settings(lr=0.01, beta1=0.8, beta2=0.9, clip=0.5, warmup=0, decay="constant")
    player = Player("p", net, settings, None)
    reference = torch.optim.AdamW(torch_net.parameters(), 0.01, (0.8, 0.9), weight_decay=0)
    x = torch.tensor([[3.0, 4.0]])
    for step in range(3):
        torch_net.weight.grad = x * (step + 1) * 0.5 / (5 * (step + 1))
        reference.step()
        player.add(net(x).sum() * (step + 1))
        assert float(player.update(step)) == pytest.approx(5.0 * (step + 1))
        player.clear()
    assert torch.allclose(net.weight, torch_net.weight, atol=1e-6)


def test_frozen_parameters_are_left_alone():
    net = linear(2, 1)
    net.bias.requires_grad_(False)
    assert list(Player("p", net, Settings(), None).named) == ["weight"]
    net.requires_grad_(False)
    with pytest.raises(InputError, match="player 'p' has no parameter"):
        Player("p", net, Settings(), None)


def test_state_of_other_parameters_is_refused():
    player = Player("p", linear(2, 1), Settings(), None)
    with pytest.raises(InputError, match="unknown parameter 'other'"):
        player.blank(["other/exp_avg"])
