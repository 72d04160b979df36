"""The moving average: closed form, what it covers, and applying it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import Ancestral, Denoiser, Dirac, InputError, Model
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_train import EMA


class Plain(Denoiser):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        self.frozen = nn.Parameter(torch.tensor(7.0), requires_grad=False)
        self.register_buffer("mean", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x, t):
        return Dirac(x * self.weight[0])


def model():
    process = linear()
    return Model(process, Plain(), Ancestral(), uniform, 2, lambda n, g: torch.zeros(n, 1))


def test_it_is_the_closed_form_after_any_number_of_updates():
    """w_K = prod d_k w_0 + sum_k (1 - d_k) prod_{j>k} d_j live_k."""
    live = model()
    ema = EMA(live, 0.9)
    start = live.denoiser.weight.detach().clone()
    values = [torch.tensor([k**1.5, -3.0 * k], dtype=torch.float64) for k in range(1, 41)]
    for k, value in enumerate(values, start=1):
        live.denoiser.weight.data.copy_(value)
        live.denoiser.mean.copy_(value.sum())
        live.denoiser.count.fill_(k)
        ema.update(k)
    rates = [min(0.9, (1 + k) / (10 + k)) for k in range(1, 41)]
    factor, expected = 1.0, torch.zeros(2, dtype=torch.float64)
    for rate, value in zip(reversed(rates), reversed(values), strict=True):
        expected += factor * (1 - rate) * value
        factor *= rate
    expected += factor * start
    own = ema.module().denoiser
    assert torch.allclose(own.weight, expected, rtol=1e-12)
    assert torch.allclose(own.mean, expected.sum() - factor * start.sum(), rtol=1e-12)
    assert own.count == 40 and own.frozen == 7
    assert not own.weight.requires_grad and live.denoiser.weight.requires_grad


def test_the_decay_is_reached_from_below():
    ema = EMA(model(), 0.99)
    assert ema.rate(1) == pytest.approx(2 / 11)
    assert ema.rate(100_000) == 0.99
    for decay in (0.0, 1.0):
        with pytest.raises(InputError, match=r"\(0, 1\)"):
            EMA(model(), decay)


def test_applied_lends_the_average_and_takes_it_back():
    live = model()
    ema = EMA(live, 0.9)
    live.denoiser.weight.data.add_(1.0)
    live.denoiser.count.add_(5)
    ema.update(1)
    now, average = (m.denoiser.weight.detach().clone() for m in (live, ema.module()))
    with pytest.raises(ZeroDivisionError), ema.applied():
        assert torch.equal(live.denoiser.weight, average)
        raise ZeroDivisionError
    assert torch.equal(live.denoiser.weight, now)
    assert torch.equal(ema.module().denoiser.weight, average)


def test_shared_modules_stay_shared():
    live = model()
    live.denoiser.process = live.process
    own = EMA(live, 0.9).module()
    assert own.denoiser.process is own.process and own.process is not live.process
