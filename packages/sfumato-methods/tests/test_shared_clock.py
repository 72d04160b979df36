"""A clock that is shared near the data, and how fast the noise changes with the time told."""

import math

import pytest
import torch

from sfumato import InputError, Preconditioned, random
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.grids import SharedClock, sensitivity
from sfumato_testing import DiagonalMixture

PROCESS = Gaussian(VP())


class Echo(torch.nn.Module):
    """Says the clock that it is told."""

    def encode(self, label):
        return {"gain": label}

    def forward(self, x, clock, gain=1.0):
        return clock[:, None].expand_as(x) * gain


def test_times_of_an_interval_are_told_its_left_end_and_later_ones_themselves():
    net = SharedClock(Echo(), PROCESS, until=0.1, parts=5)
    t = torch.tensor([0.0, 0.01, 0.0199, 0.02, 0.0201, 0.099, 0.1, 0.3, 1.0], dtype=torch.float64)
    left = torch.tensor([0.0, 0.0, 0.0, 0.02, 0.02, 0.08, 0.1, 0.3, 1.0], dtype=torch.float64)
    told = net(torch.zeros(len(t), 1), PROCESS.clock(t).float())[:, 0]
    assert torch.equal(told, PROCESS.clock(left).float())
    assert net.encode(label=2.0) == {"gain": 2.0}
    bare = SharedClock(torch.nn.Identity(), PROCESS)
    assert bare.encode(label=1) == {"label": 1}


def test_the_schedule_of_the_denoiser_is_left_alone():
    """With a net that says 1, eps = 1: the posterior is that of t, not of the time told."""

    class One(torch.nn.Module):
        def forward(self, x, clock):
            return torch.ones_like(x)

    t = torch.tensor(0.013, dtype=torch.float64)
    x = torch.full((2, 3), 0.7, dtype=torch.float64)
    found = Preconditioned(SharedClock(One(), PROCESS), PROCESS, "eps")(x, t).mean
    want = (x - PROCESS.sigma(t)) / PROCESS.alpha(t)
    assert torch.allclose(found, want, rtol=1e-12)
    assert SharedClock(One(), PROCESS).state_dict() == {}


def test_a_clock_that_cannot_be_shared_is_refused():
    for until, parts in ((0.0, 5), (1.1, 5), (0.1, 0)):
        with pytest.raises(InputError, match="until in"):
            SharedClock(Echo(), PROCESS, until, parts)


def test_exact_noise_changes_with_the_inverse_root_of_time_near_the_data():
    """|d eps/dt| ~ t^(-1/2) for linear betas (slope within 0.05), as sigma'(t) does."""
    like = torch.zeros(1, 4, dtype=torch.float64)
    means = list(random.normal(like.expand(5, 4), random.derive(0, "means")))
    stds = [torch.full((4,), 0.3, dtype=torch.float64)] * 5
    target = DiagonalMixture(like, means, stds)
    denoiser = target.denoiser(PROCESS)
    pick = random.integers(0, 5, (2000,), random.derive(0, "pick"))
    x0 = torch.stack(means)[pick] + 0.3 * random.normal(
        like.expand(2000, 4), random.derive(0, "x0")
    )
    times = torch.logspace(-5, -4, 6, dtype=torch.float64)
    k = [sensitivity(PROCESS, denoiser, x0, t, t * 1.001, random.derive(0, "noise")) for t in times]
    slope = (math.log(k[-1]) - math.log(k[0])) / math.log(10)
    assert slope == pytest.approx(-0.5, abs=0.05)
