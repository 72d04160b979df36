"""Parametrisations: every head gives the clean state back; conditions are private views."""

import math

import pytest
import torch
from torch import nn

from sfumato import Denoiser, InputError, Preconditioned, Unsupported, expand, random
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear

SCHEDULES = [VP(), VE(), Linear(), Cosine(), EDM(), VP.from_betas(torch.linspace(1e-4, 0.02, 1000))]
X0, EPS = (random.normal(torch.zeros(5, 3, dtype=torch.float64), random.derive(0, n)) for n in "ab")
T = torch.tensor([0.03, 0.2, 0.5, 0.8, 0.97], dtype=torch.float64)


class Fixed(nn.Module):
    """Returns what it was given, and remembers how it was called."""

    def __init__(self, out=None):
        super().__init__()
        self.out, self.calls = out, []

    def forward(self, x, clock, **context):
        self.calls.append((x, clock, context))
        return x * 0 if self.out is None else self.out


def truth(predict, a, s):
    """The output that a perfect network has to give, written from the definitions."""
    n = (a**2 + s**2).sqrt()
    data = 0.5
    match predict:
        case "x0":
            return X0
        case "eps":
            return EPS
        case "v":
            return a / n * EPS - s / n * X0
        case "flow":
            return EPS - X0
        case "score":
            return -EPS / s
        case "edm":  # Karras et al. 2022, table 1, in sigma/alpha and x/alpha
            r = s / a
            skip, gain = data**2 / (r**2 + data**2), r * data / (r**2 + data**2).sqrt()
            return (X0 - skip * (X0 + r * EPS)) / gain


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("predict", ["x0", "eps", "v", "flow", "score", "edm"])
def test_a_perfect_network_gives_the_clean_state(schedule, predict):
    process = Gaussian(schedule)
    a, s = (expand(X0, c) for c in (process.alpha(T), process.sigma(T)))
    denoiser = Preconditioned(Fixed(truth(predict, a, s)), process, predict, sigma_data=0.5)
    assert torch.allclose(denoiser(a * X0 + s * EPS, T).mean, X0, rtol=0, atol=1e-10)


class Net(nn.Module):
    """A smooth function of what a network sees."""

    def forward(self, x, clock):
        return torch.sin(x) + clock[:, None] * 0.1


@pytest.mark.parametrize("predict", ["x0", "eps", "v", "flow", "edm"])
@pytest.mark.parametrize("other", SCHEDULES[1:], ids=repr)
def test_the_schedule_can_be_swapped_after_training(predict, other):
    """At equal sigma/alpha the posterior of the rescaled state is the same."""
    first, second = Gaussian(SCHEDULES[0]), Gaussian(other)
    t = torch.tensor([0.3, 0.4, 0.5, 0.6, 0.7], dtype=torch.float64)
    u = second.time(first.logsnr(t))
    x = X0 * expand(X0, first.alpha(t)) + EPS * expand(X0, first.sigma(t))
    y = x * expand(x, second.alpha(u) / first.alpha(t))
    one, two = (Preconditioned(Net(), p, predict)(v, w).mean for p, v, w in
                ((first, x, t), (second, y, u)))  # fmt: skip
    assert torch.allclose(one, two, rtol=1e-6, atol=1e-6)  # the clock is single precision


def test_the_network_sees_unit_variance_and_a_bounded_clock():
    for schedule in SCHEDULES:
        process, net = Gaussian(schedule), Fixed()
        for t in (0.0, 1.0):
            Preconditioned(net, process)(X0, torch.tensor(t, dtype=torch.float64))
            x, clock, _ = net.calls[-1]
            assert clock.shape == (5,) and clock.dtype == torch.float32
            assert float(clock.abs().max()) <= 10 and bool(x.isfinite().all())
        noise = EPS * process.sigma(torch.ones(()).double())
        Preconditioned(net, process)(noise, torch.ones((), dtype=torch.float64))
        assert torch.allclose(net.calls[-1][0], EPS, rtol=2e-2)


def test_the_posterior_has_the_dtype_of_the_state():
    net = nn.Sequential()
    net.forward = lambda x, clock: x.to(torch.float32)
    process = Gaussian(VP())
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        mean = Preconditioned(net, process)(X0.to(dtype), torch.tensor(0.5)).mean
        assert mean.dtype == dtype


class Encoding(Fixed):
    def encode(self, *, label):
        self.calls.append("encoded")
        return {"context": label * 2}


def test_conditions_are_encoded_once_and_seen_by_the_view_alone():
    net = Encoding()
    denoiser = Preconditioned(net, Gaussian(VP()))
    view = denoiser.given(label=torch.tensor(3.0))
    view(X0, T), view(X0, T), denoiser(X0, T)
    assert net.calls.count("encoded") == 1
    contexts = [call[2] for call in net.calls if call != "encoded"]
    assert [c.get("context") for c in contexts] == [6.0, 6.0, None]
    assert view.net is denoiser.net and list(view.parameters()) == list(denoiser.parameters())


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: Preconditioned(Fixed(), Discrete(uniform(3))), Unsupported, "needs AFFINE"),
        (lambda: Preconditioned(Fixed(), Gaussian(VP()), "noise"), InputError, "accepted are x0"),
        (lambda: Preconditioned(Fixed(), Gaussian(VP()), sigma_data=0.0), InputError, "positive"),
        (lambda: Preconditioned(Fixed(), Gaussian(VP()), sigma_data=math.nan), InputError, "posi"),
        (lambda: Denoiser().given(label=1), InputError, "takes no condition; given were label"),
        (lambda: Denoiser()(X0, T), Unsupported, "does not implement forward"),
    ],
)
def test_a_wrong_call_names_the_way_out(build, error, says):
    with pytest.raises(error, match=says):
        build()
