"""Processes that are broken on purpose: the kit catches each, by the check that it should.

A mutant names the checks that fail on it, the telling one first; all others pass on it, and the
named ones pass on its original.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import Fields, Joint, Normal, Product, random
from sfumato.state import apply, expand
from sfumato_methods.discrete import (
    Discrete,
    Exponential,
    JointDiscrete,
    MaskReplace,
    RankOne,
    absorbing,
    band,
    uniform,
)
from sfumato_methods.gaussian import VP, Gaussian, vp
from sfumato_methods.gaussian.process import Step
from sfumato_testing import Case, DiagonalMixture, Factorised, Together, checks_of, failures
from sfumato_testing.book import number

X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=torch.float64)
IDS = torch.tensor([[0, 2, 1], [3, 3, 0]])
DATA = DiagonalMixture(X0[:1], [torch.tensor([0.3, -0.2, 0.1])], [torch.tensor([0.5, 0.8, 0.3])])
TOKENS = Factorised(IDS[:1], [0.4, 0.3, 0.2, 0.1])


class WrongSigma(Gaussian):
    """sigma(t) for sigma(s) in one place, as in a published sampler."""

    def _step(self, t, s):
        step = super()._step(t, s)
        ratio = self.sigma(t) / torch.where(s > 0, self.sigma(s), 1.0)
        return step._replace(std=step.std * torch.where(s > 0, ratio, 1.0))


class MissingAlpha(Gaussian):
    """alpha(s) - k where alpha(s) - k alpha(t) belongs."""

    def _step(self, t, s):
        step = super()._step(t, s)
        wrong = torch.where(s == t, 0.0, self.alpha(s) - step.keep)
        return step._replace(data=torch.where(s > 0, wrong, step.data))


class VarianceForgotten(Gaussian):
    """The posterior's mean put into the bridge, its spread dropped."""

    def transition(self, q, x, t, s, row=None):
        if isinstance(q, Normal):
            return self.bridge(q.mean, x, t, s, row)
        return super().transition(q, x, t, s, row)


class WidePrior(Gaussian):
    """A prior that is a tenth too wide."""

    def prior(self, like):
        law = super().prior(like)
        return Normal(law.mean, 1.1 * law.std)


class Forgetful(Gaussian):
    """A bridge that ignores x_t: every marginal is right, no trajectory hangs together."""

    def _step(self, t, s):
        return Step(self.alpha(s), 0 * self.sigma(s), self.sigma(s))


class NoiseFloor(Gaussian):
    """A standard deviation clamped from below, so that some noise is left at s = 0."""

    def _step(self, t, s):
        step = super()._step(t, s)
        return step._replace(std=torch.where(s == t, 0.0, step.std.clamp_min(1e-4)))


class InPlace(Gaussian):
    """Shifts its input in place and back: what is left is a rounding error."""

    def bridge(self, x0, x, t, s, row=None):
        apply(x, lambda v: v.add_(1).sub_(1))
        return super().bridge(x0, x, t, s, row)


class SingleTime(Gaussian):
    """Times taken to float32."""

    def alpha(self, t):
        return super().alpha(t.float())

    def sigma(self, t):
        return super().sigma(t.float())


class GlobalNoise(Gaussian):
    """Draws from the global generator."""

    def transition(self, q, x, t, s, row=None):
        law = super().transition(q, x, t, s, row)
        return GlobalNormal(law.mean, law.std) if isinstance(law, Normal) else law


class GlobalNormal(Normal):
    def sample(self, generator):
        return self.mean + torch.randn_like(self.mean) * self.std


class GradOff(Gaussian):
    """Turns gradients off for everybody."""

    def transition(self, q, x, t, s, row=None):
        torch.set_grad_enabled(False)
        return super().transition(q, x, t, s, row)


class Coupled(Gaussian):
    """Noise that is centred over the batch, so that an item depends on its neighbours."""

    def transition(self, q, x, t, s, row=None):
        law = super().transition(q, x, t, s, row)
        return CoupledNormal(law.mean, law.std) if isinstance(law, Normal) else law


class CoupledNormal(Normal):
    def sample(self, generator):
        noise = random.normal(self.mean, generator)
        return self.mean + (noise - noise.mean(0)) * self.std


class WrongItem(Gaussian):
    """The times of the items in the wrong order."""

    def marginal(self, x0, t):
        return super().marginal(x0, t.flip(0) if t.ndim == 1 else t)


class Backwards(Gaussian):
    """A velocity that points the wrong way."""

    def velocity(self, q, x, t, row=None):
        return -super().velocity(q, x, t, row)


class ScoreWithoutAlpha(Gaussian):
    """(x_0 - x_t) / sigma^2 where (alpha x_0 - x_t) / sigma^2 belongs."""

    def score(self, q, x, t):
        return (q.mean - x) * expand(x, self.sigma(t) ** -2)


class Restless(Gaussian):
    """What rests is noised anew."""

    def _step(self, t, s):
        step = super()._step(t, s)
        return step._replace(std=torch.where(s == t, self.sigma(s), step.std))


class RoundedPlan(Gaussian):
    """Planned rows in single precision."""

    def plan(self, grid):
        return super().plan(grid.float())


class Amnesiac(Gaussian):
    """A deep copy starts over with the default schedule."""

    def __deepcopy__(self, memo):
        return type(self)(VP())


class Widening(Gaussian):
    """Answers in double precision whatever it was asked in."""

    def prior(self, like):
        law = super().prior(like)
        return Normal(law.mean.double(), law.std)


class EndlessClock(Gaussian):
    """log(sigma/alpha) as it is: infinite at the ends."""

    def clock(self, t):
        return -0.5 * self.logsnr(t)


class Learned(nn.Module):
    """A healthy schedule with a parameter: alpha = 1, sigma = top t."""

    def __init__(self):
        super().__init__()
        self.log_top = nn.Parameter(torch.tensor(4.0, dtype=torch.float64))

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return self.log_top.exp() * t

    def rates(self, t):
        return torch.zeros_like(t), self.log_top.exp().expand_as(t)

    def logsnr(self, t):
        return -2 * (self.log_top + t.log())

    def time(self, logsnr):
        return (-0.5 * logsnr - self.log_top).exp().clamp(0, 1)

    def __repr__(self):
        return f"Learned({self.log_top.item():g})"


class Detached(Learned):
    """A parameter that nothing depends on any more."""

    def sigma(self, t):
        return self.log_top.detach().exp() * t

    def logsnr(self, t):
        return -2 * (self.log_top.detach() + t.log())


class FloatPlan(Gaussian):
    """Planned rows that lose the gradient of the parameters."""

    def plan(self, grid):
        if grid.ndim > 1:
            return super().plan(grid)
        return [
            Step(*(float(torch.as_tensor(c).detach()) for c in row)) for row in super().plan(grid)
        ]


class WrongKeep(RankOne):
    """keep(t) where keep(t) / keep(s) belongs, in one of the three operations."""

    def columns(self, ids, s, t):
        return super().columns(ids, torch.zeros_like(s), torch.where(s == t, 0.0, t))


class ForgottenMasks(MaskReplace):
    """A share of masks that does not depend on the masks there were."""

    def _parts(self, like, s, t):
        a, b, c = super()._parts(like, s, t)
        return a, b, c * expand(like, 1 - 0.5 * s)


class WrongAge(Exponential):
    """The age since 0.9 s where that since s belongs, in one of the operations."""

    def rows(self, ids, s, t):
        return super().rows(ids, s * 0.9, t)


class WrongLimit(RankOne):
    """A prior that is not the law at t = 1."""

    def limit(self):
        return self.law.flip(0)


class Fidgety(Product):
    """A part that rests draws all the same."""

    def transition(self, q, x, t, s, row=None):
        return FidgetyJoint(super().transition(q, x, t, s, row).parts)


class FidgetyJoint(Joint):
    def sample(self, generator):
        super().sample(generator)
        return super().sample(generator)


def gaussian(kind=Gaussian, schedule=None, target=DATA, x0=X0, **options):
    process = kind(schedule or VP())
    return Case(process, x0, exact=target.denoiser(process), data=target.sample, **options)


def tokens(kind=Discrete, kernel=None):
    process = kind(kernel or uniform(4))
    return Case(process, IDS, exact=TOKENS.denoiser(process), data=TOKENS.sample)


def pair(kind=Product):
    process = kind({"a": vp(), "b": vp()})
    target = Together({"a": DATA, "b": DATA})
    x0 = Fields(a=X0, b=X0 * 0.5)
    return Case(process, x0, exact=target.denoiser(process), data=target.sample)


MASKED = absorbing(4).law
SKEW = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
NARROW = VP(0.1, 19.0)


def mutant(kind, caught_by):
    return gaussian(kind), gaussian(), caught_by


MUTANTS = [
    mutant(WrongSigma, "C1 C12 C15"),
    mutant(MissingAlpha, "C1 C3 C12 C15"),
    mutant(VarianceForgotten, "C15 C12"),
    mutant(WidePrior, "C2"),
    mutant(Forgetful, "C4 C12"),
    mutant(NoiseFloor, "C3"),
    mutant(InPlace, "C5 C9"),
    mutant(SingleTime, "C10"),
    mutant(GlobalNoise, "C8 C6 C7 C13 C14 C18 C19"),
    mutant(GradOff, "C8 C9"),
    mutant(Coupled, "C7"),
    mutant(WrongItem, "C6"),
    mutant(Backwards, "C10"),
    mutant(ScoreWithoutAlpha, "C10"),
    mutant(Restless, "C4"),
    mutant(RoundedPlan, "C19"),
    mutant(Widening, "C5"),
    mutant(EndlessClock, "C3"),
    (gaussian(Amnesiac, NARROW), gaussian(schedule=NARROW), "C14"),
    (gaussian(schedule=Detached()), gaussian(schedule=Learned()), "C9"),
    (gaussian(FloatPlan, Learned()), gaussian(schedule=Learned()), "C9"),
    (tokens(kernel=WrongKeep(MASKED)), tokens(kernel=RankOne(MASKED)), "C1 C3 C12"),
    (tokens(kernel=WrongLimit(SKEW)), tokens(kernel=RankOne(SKEW)), "C2"),
    (tokens(kernel=ForgottenMasks(4)), tokens(kernel=MaskReplace(4)), "C1 C3 C12"),
    (tokens(kernel=WrongAge(band(4, 1).rates)), tokens(kernel=band(4, 1)), "C1 C3 C4 C12"),
    (tokens(JointDiscrete), tokens(), "C12 C15"),
    (pair(Fidgety), pair(), "C13"),
]


@pytest.mark.parametrize(
    ("broken", "original", "caught_by"), MUTANTS, ids=lambda value: getattr(value, "name", value)
)
def test_mutant_fails_the_named_checks_alone(broken, original, caught_by):
    said = failures(broken)
    telling = caught_by.split()[0]
    assert said.keys() == set(caught_by.split()), said
    assert said[telling].startswith(f"{telling} ") and "crashed" not in said[telling]
    for check in checks_of(original):
        if number(check) in said:
            check(original)


def test_each_check_of_a_process_has_a_mutant():
    telling = {caught_by.split()[0] for *_, caught_by in MUTANTS}
    assert telling >= {f"C{n}" for n in (*range(1, 11), 12, 13, 14, 15, 19)}
