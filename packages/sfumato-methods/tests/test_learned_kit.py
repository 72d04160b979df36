"""Learned processes keep the laws of the kit, and those broken on purpose are caught by them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import Ancestral, Normal, Padded, Ragged, random
from sfumato.state import apply, expand
from sfumato_methods.gaussian import VP, Linear
from sfumato_methods.learned import NDM, NFDM, FPDiff, Pointwise
from sfumato_methods.learned.nets import ask
from sfumato_methods.solvers import Euler, Heun
from sfumato_testing import Case, Enumerated, checks, checks_of
from sfumato_testing.book import number

FLOAT = torch.float64
X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=FLOAT)
POINTS = Enumerated(torch.cat([X0, X0.new_tensor([[1.0, 0.4, -0.6]])]), [0.5, 0.3, 0.2])
TURNS = {"C10": "a draw at fixed noise is turned by w; tested by the density it carries instead"}


class Mixing(nn.Module):
    """Bends each number by its neighbour too, in arithmetic that rounds alike in every batch."""

    def __init__(self, seed):
        super().__init__()
        self.own, self.near = (warp(seed + i) for i in range(2))

    def forward(self, x, clock):
        return self.own(x, clock) + self.near(x.roll(1, -1), clock)


def warp(seed):
    net = Pointwise(4).double()
    with torch.no_grad():
        net.gain.copy_(0.3 * random.normal(net.gain, random.derive(seed, "gain")))
    return net


def turning(kind=FPDiff):
    process = kind(3, rank=1)
    generator = random.derive(1, "fpdiff")
    with torch.no_grad():
        process.diagonal.copy_(torch.linspace(0, 0.8, 3))
        process.factor.copy_(0.7 * random.normal(process.factor, generator))
        process.skew.copy_(random.normal(process.skew, generator))
    return process


def case(process, **options):
    return Case(process, X0, exact=POINTS.denoiser(process), data=POINTS.sample, **options)


def bent(kind=NDM):
    return case(kind(VP(), Mixing(1)), samplers=(Ancestral(), Euler()))


def flowing(kind=NFDM):
    return case(kind(Linear(), warp(3), warp(4)))


def turned(kind=FPDiff, **options):
    options = {"frames": False, "expected_failures": TURNS} | options
    return case(turning(kind), **options)


OWNER = torch.tensor([0, 0, 2, 2, 2])
ROWS = Ragged(torch.linspace(-1, 1.4, 10, dtype=FLOAT).reshape(5, 2), OWNER, 3)
PLACES = Padded(
    torch.linspace(-1, 1.2, 12, dtype=FLOAT).reshape(2, 3, 2),
    torch.tensor([[True, True, False], [True, True, True]]),
)


@checks(
    bent(),
    flowing(),
    turned(samplers=(Ancestral(), Euler(), Heun())),
    Case(NDM(Linear(), warp(5)), ROWS, samplers=(Heun(),), name="NDM-Ragged"),
    Case(NFDM(VP(), warp(5)), PLACES, name="NFDM-Padded"),
)
def test_learned_processes(case, check):
    check(case)


class BentOnce(NDM):
    """F(x_0, t) where F(x_0, s) belongs."""

    def bridge(self, x0, x, t, s, row=None):
        law = super().bridge(x0, x, t, s, row)
        wrong = (self.transform(x0, t) - self.transform(x0, s)) * expand(x0, self.base.alpha(s))
        return Normal(law.mean + wrong * expand(x0, (s > 0).double()), law.std)


class Unpinned(NDM):
    """A network that also bends the data at t = 0."""

    def transform(self, x0, t):
        return x0 + ask(self.net, self, x0, t)


class Unmoved(NDM):
    """A velocity that forgets that F depends on time."""

    def _motion(self, x0, x, t):
        flow, pull = super()._motion(x0, x, t)
        h = 1e-6
        late, early = (self.transform(x0, t + k) for k in (h, -h))
        return flow - (late - early) * expand(x0, self.base.alpha(t) / (2 * h)), pull


class Untracked(NDM):
    """A network whose weights get no gradient."""

    def transform(self, x0, t):
        return x0 + apply(ask(self.net, self, x0, t), torch.Tensor.detach) * expand(x0, t)


class FixedWidth(NFDM):
    """The width of the noise learned in the marginal and forgotten in the bridge."""

    def bridge(self, x0, x, t, s, row=None):
        law = super().bridge(x0, x, t, s, row)
        return Normal(law.mean, law.std * apply(-1.0 * self._wide(x0, s), torch.exp))


class KeptWidth(NFDM):
    """A velocity without the rate of the width."""

    def _motion(self, x0, x, t):
        flow, pull = super()._motion(x0, x, t)
        h = 1e-6
        rate = (self._wide(x0, t + h) - self._wide(x0, t - h)) * (0.5 / h)
        return flow - rate * (x - self.moments(x0, t)["mean"]), pull


class WidePull(NFDM):
    """A score over sigma^2 where tau^2 belongs."""

    def score(self, q, x, t):
        return NFDM(self.base.schedule, self.net).score(q, x, t)


class Cooled(FPDiff):
    """R in the drift that the noise does not have: a tenth less of it."""

    def _travel(self, age):
        move, covariance = super()._travel(age)
        return move, 0.9 * covariance


class Unturned(FPDiff):
    """A bridge that knows nothing of w."""

    def _move(self, t, s):
        plain = FPDiff(self.dimensions, self.schedule, self.factor.shape[1])
        plain.load_state_dict(self.state_dict() | {"skew": 0 * self.skew})
        return plain._move(t, s)


MUTANTS = [
    (bent(BentOnce), bent(), "C1"),
    (bent(Unpinned), bent(), "C3"),
    (bent(Unmoved), bent(), "C10"),
    (bent(Untracked), bent(), "C9"),
    (flowing(FixedWidth), flowing(), "C1"),
    (flowing(KeptWidth), flowing(), "C10"),
    (flowing(WidePull), flowing(), "C10"),
    (turned(Cooled), turned(), "C2"),
    (turned(Unturned), turned(), "C1"),
]


@pytest.mark.parametrize(
    ("broken", "original", "telling"), MUTANTS, ids=lambda value: getattr(value, "name", value)
)
def test_a_broken_process_is_caught(broken, original, telling):
    """By the named check, with its message and not a crash; the original passes that check."""
    (check,) = (c for c in checks_of(original) if number(c) == telling)
    with pytest.raises(AssertionError, match=f"^{telling} "):
        check(broken)
    check(original)
