"""The moving average: closed form, what it covers, and applying it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import Ancestral, Denoiser, Dirac, InputError, Model
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_train import EMA
from sfumato_train.ema import exponential, gamma, posthoc, power


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
    ema = EMA(live, exponential(0.9))
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
    ema = EMA(model(), exponential(0.99))
    assert ema.rate(1) == pytest.approx(2 / 11)
    assert ema.rate(100_000) == 0.99
    for decay in (0.0, 1.0):
        with pytest.raises(InputError, match=r"\(0, 1\)"):
            exponential(decay)


def test_applied_lends_the_average_and_takes_it_back():
    live = model()
    ema = EMA(live, exponential(0.9))
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
    own = EMA(live, exponential(0.9)).module()
    assert own.denoiser.process is own.process and own.process is not live.process


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.25])
def test_a_power_function_average_is_the_closed_form_of_its_profile(width):
    """Its weights are those of t^gamma up to the grid of steps, their spread the relative width."""
    rate, count = power(width), 20_000
    rates = [rate(k) for k in range(1, count + 1)]
    assert rates[0] == 0  # the first weights are forgotten at once
    weights = torch.ones(count, dtype=torch.float64)
    weights[1:] = torch.tensor(rates[1:], dtype=torch.float64)
    after = weights.flip(0).cumprod(0).flip(0).roll(-1)
    after[-1] = 1
    profile = (1 - torch.tensor(rates, dtype=torch.float64)) * after
    place = torch.arange(1, count + 1, dtype=torch.float64) / count
    assert float(profile.sum()) == pytest.approx(1, abs=1e-12)
    mean = (profile * place).sum()
    spread = (profile * (place - mean).square()).sum().sqrt()
    assert float(spread) == pytest.approx(width, rel=2e-3)
    exponent = gamma(width)
    assert float(mean) == pytest.approx((exponent + 1) / (exponent + 2), rel=1e-3)


def test_widths_of_the_paper():
    """Karras et al. 2024, section 3.1: 5 %, 10 %, 25 % are exponents 16.97, 6.94 and 0.90..."""
    assert gamma(0.05) == pytest.approx(16.97, abs=5e-3)
    assert gamma(0.10) == pytest.approx(6.94, abs=5e-3)
    for width in (0, 12**-0.5, 0.3, -0.1):
        with pytest.raises(InputError, match="width of an average lies in"):
            gamma(width)


def test_snapshots_give_any_other_width_afterwards():
    """Along a random walk, against the average that was kept during it; a lone width cannot."""
    count, every = 4000, 250
    generator = torch.Generator().manual_seed(5)
    walk = torch.randn(count, 64, generator=generator, dtype=torch.float64).cumsum(0) / count**0.5

    def tracked(width, upto):
        average, rate = torch.zeros(64, dtype=torch.float64), power(width)
        kept = {}
        for k in range(1, upto + 1):
            average = average.lerp(walk[k - 1], 1 - rate(k))
            if k % every == 0:
                kept[k] = average
        return kept

    stored = {(k, w): v for w in (0.05, 0.1) for k, v in tracked(w, count).items()}
    scale = walk[-1].norm()
    for width, step in ((0.15, count), (0.075, count), (0.1, 3000), (0.2, 3000)):
        past = [key for key in stored if key[0] <= count]
        shares = posthoc(past, step, width)
        made = sum(share * stored[key] for share, key in zip(shares, past, strict=True))
        wanted = tracked(width, step)[step]
        assert (made - wanted).norm() / scale < 0.01
    exact = posthoc(list(stored), 3000, 0.1)
    assert exact == pytest.approx([float(key == (3000, 0.1)) for key in stored], abs=1e-6)
    few = posthoc([(count // 2, 0.05), (count, 0.2)], count, 0.1)
    assert sum(few) == pytest.approx(1, abs=1e-12)
    crude = posthoc([(count, 0.05)], count, 0.15)
    made = crude[0] * stored[count, 0.05]
    assert (made - tracked(0.15, count)[count]).norm() / scale > 0.1
    with pytest.raises(InputError, match="at that step or later"):
        posthoc(list(stored), count + 1, 0.1)
    with pytest.raises(InputError, match="no snapshot"):
        posthoc([], count, 0.1)
