"""Each weight turns the x_0 loss into the loss that it is named after, for every schedule."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from sfumato import Categorical, Denoiser, InputError, Preconditioned, Unsupported, random
from sfumato_methods.discrete import CosineKeep, Discrete, absorbing, uniform
from sfumato_methods.gaussian import cosine, edm, linear, ve, vp
from sfumato_train import weights

PROCESSES = [vp(), ve(), linear(), cosine(), edm()]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


class Fixed(nn.Module):
    """Predicts what it was given, whatever it sees."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, clock):
        return self.output


def target(head, process, x0, noise, t, data):
    """What a perfect network of this head predicts, from its definition."""
    a, s = process.alpha(t)[:, None], process.sigma(t)[:, None]
    x = a * x0 + s * noise
    norm = (a**2 + s**2).sqrt()
    scale = (s**2 + (data * a) ** 2).rsqrt()
    return x, {
        "x0": x0,
        "eps": noise,
        "v": (a * noise - s * x0) / norm,
        "flow": noise - x0,
        "score": -noise / s,
        "edm": (x0 - a * (data * scale) ** 2 * x) / (s * data * scale),
    }[head]


@every_process
@pytest.mark.parametrize("head", ["x0", "eps", "v", "flow", "score", "edm"])
def test_the_weighted_x0_loss_is_the_loss_of_the_head(process, head):
    """Exact identity, for a network that is off by a known error."""
    generator = random.derive(0, "identity")
    t = torch.linspace(0.05, 0.95, 12, dtype=torch.float64)
    x0, noise, error = (random.normal(torch.empty(12, 6).double(), generator) for _ in range(3))
    x, perfect = target(head, process, x0, noise, t, data=0.7)
    weight = partial(weights.edm, sigma_data=0.7) if head == "edm" else getattr(weights, head)
    net = Fixed(perfect + error)
    q = Preconditioned(net, process, head, sigma_data=0.7)(x, t)
    assert torch.allclose(q.loss(x0) * weight(process, t), error.square().mean(1), rtol=1e-7)


def test_a_wrong_weight_is_noticed():
    """The twin of the identity: v is not eps, flow is not v."""
    t = torch.linspace(0.05, 0.95, 12, dtype=torch.float64)
    for one, other in (("v", "eps"), ("flow", "v"), ("edm", "eps")):
        a, b = (getattr(weights, name)(linear(), t) for name in (one, other))
        assert ((a / b - 1).abs() > 1e-3).all()


@every_process
def test_weights_are_positive_and_finite_for_all_times(process):
    t = torch.tensor([0.0, 1e-12, 1e-6, 0.3, 1 - 1e-12, 1.0], dtype=torch.float64)
    for name in ("x0", "eps", "score", "v", "flow", "edm", "min_snr", "sigmoid"):
        weight = getattr(weights, name)(process, t)
        assert weight.dtype == torch.float64 and weight.shape == t.shape
        assert (weight > 0).all() and weight.isfinite().all(), name


@every_process
def test_min_snr_is_the_snr_up_to_gamma(process):
    t = torch.linspace(0.001, 1, 200, dtype=torch.float64)
    snr = (process.alpha(t) / process.sigma(t)).square()
    found = weights.min_snr(process, t, gamma=3.0)
    assert torch.allclose(found, snr.minimum(torch.tensor(3.0)), rtol=1e-6, atol=1e-8)


@every_process
def test_the_sigmoid_weight_is_the_published_formula_with_a_numerical_slope(process):
    t, h = torch.linspace(0.1, 0.9, 9, dtype=torch.float64), 1e-6
    logsnr = process.logsnr(t)
    slope = (process.logsnr(t + h) - process.logsnr(t - h)) / (2 * h)
    expected = 0.5 * -slope * torch.sigmoid(1.5 - logsnr) * logsnr.exp()
    assert torch.allclose(weights.sigmoid(process, t, bias=1.5), expected, rtol=1e-5)


def test_the_sigmoid_loss_does_not_depend_on_the_schedule():
    """The weight of an interval of log-SNR in the noise loss is the same for all schedules."""
    low, high = torch.tensor([-2.0], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)
    totals = []
    for process in (linear(), vp(), cosine()):
        t = torch.linspace(float(process.time(high)), float(process.time(low)), 20_001).double()
        density = weights.sigmoid(process, t) / weights.eps(process, t)
        totals.append(float(torch.trapezoid(density, t)))
    # the integral of sigmoid(2 - l)/2 over l from -2 to 3, in closed form
    exact = 0.5 * float(torch.nn.functional.softplus(torch.tensor([4.0, -1.0])).diff().neg())
    assert totals == pytest.approx([exact] * 3, rel=1e-5)


def test_a_preconditioned_network_is_matched_with_its_own_loss():
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    for head in ("x0", "eps", "v", "flow"):
        denoiser = Preconditioned(Fixed(None), linear(), head)
        assert weights.matching(denoiser) is getattr(weights, head)
    matched = weights.matching(Preconditioned(Fixed(None), linear(), "edm", sigma_data=0.5))
    assert torch.equal(matched(linear(), t), weights.edm(linear(), t, sigma_data=0.5))
    assert weights.matching(Preconditioned(Fixed(None), linear(), "score")) is weights.eps


def test_other_denoisers_and_processes_have_weight_one():
    class Tokens(Denoiser):
        def forward(self, x, t):
            return Categorical(logits=torch.zeros(*x.shape, 3))

    t = torch.linspace(0, 1, 4, dtype=torch.float64)
    process = Discrete(absorbing(3))
    assert weights.matching(Tokens())(process, t).tolist() == [1.0] * 4
    with pytest.raises(Unsupported, match=r"needs AFFINE; .* Use weights\.x0"):
        weights.eps(process, t)


def test_weights_are_found_by_name():
    assert weights.named("min-snr") is weights.min_snr
    with pytest.raises(InputError, match="no weight 'min-snrr'; did you mean min-snr"):
        weights.named("min-snrr")


def test_the_masked_weight_makes_the_loss_the_bound():
    """Independent tokens, an exact posterior: the mean is the entropy, to 5 standard errors."""
    process, count = Discrete(absorbing(2, CosineKeep())), 20_000
    law = torch.tensor([0.7, 0.3, 0.0], dtype=torch.float64)
    generator = random.derive(0, "masked")
    x0 = random.categorical(law.expand(count, 3, 3), generator)
    t = torch.rand(count, generator=generator, dtype=torch.float64)
    x = process.draw(x0, t, generator).x
    shown = torch.nn.functional.one_hot(x, 3).double()
    q = Categorical(probs=torch.where((x == 2)[..., None], law, shown))
    each = weights.masked(process, t) * q.loss(x0)
    entropy = -float(law[0] * law[0].log() + law[1] * law[1].log())
    assert abs(float(each.mean()) - entropy) < 5 * float(each.std()) / count**0.5
    linear_weight = weights.masked(Discrete(absorbing(2)), t)
    assert torch.allclose(linear_weight, 1 / t.clamp_min(4.54e-5), rtol=1e-3)
    for other in (vp(), Discrete(uniform(3))):
        with pytest.raises(Unsupported, match=r"for Discrete\(absorbing\(K\)\)"):
            weights.masked(other, t)
