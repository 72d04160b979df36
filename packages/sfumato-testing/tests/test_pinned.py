"""Processes that are pinned to a source keep the laws of the kit, and broken ones are caught."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from sfumato import Ancestral, Padded
from sfumato_methods.bridges import (
    Arch,
    Around,
    Doob,
    Level,
    Missing,
    OneSided,
    Pinned,
    Shares,
    Sine,
    Straight,
    Transport,
    brownian_bridge,
    ddbm,
    ddbm_ve,
    interpolant,
    rddm,
)
from sfumato_methods.gaussian import EDM, VP, Cosine, Gaussian
from sfumato_methods.solvers import DBIM, BridgeHeun, Heun
from sfumato_testing import (
    Case,
    Corrupted,
    DiagonalMixture,
    FullMixture,
    SolverCase,
    checks,
    failures,
)

X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=torch.float64)
SOURCE = torch.tensor([[-0.4, 0.9, 1.1], [0.6, -0.3, -1.3]], dtype=torch.float64)
DATA = DiagonalMixture(X0[:1], [torch.tensor([0.3, -0.2, 0.1])], [torch.tensor([0.5, 0.8, 0.3])])
MODES = DiagonalMixture(X0[:1], [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])
SAMPLERS = (Ancestral(), DBIM(), DBIM(0.5), DBIM(1.0), DBIM(order=3), BridgeHeun())


def paired(process, target=DATA, std=math.inf, x0=X0, source=SOURCE, **options):
    pairs = Corrupted(target, std)
    return Case(
        process,
        x0,
        exact=pairs.denoiser(process),
        data=pairs.data(process, source),
        context={"source": source},
        **options,
    )


LOOSE = {"C12": "what x_t tells about x_0 beside x_s is lost: no Markov chain, a loose bound"}


@checks(
    paired(ddbm(), samplers=SAMPLERS, name="ddbm"),
    *(
        paired(p, samplers=SAMPLERS[:2], name=n)
        for n, p in (
            ("ddbm-ve", ddbm_ve(5.0)),
            ("brownian-bridge", brownian_bridge(2.0)),
            ("interpolant", interpolant()),
            ("around", Pinned(Around(Cosine()))),
            ("around-vp", Pinned(Around(VP()))),
        )
    ),
    *(
        paired(p, samplers=SAMPLERS[1:3], name=n, expected_failures=LOOSE)
        for n, p in (
            ("interpolant-arch", interpolant(Arch())),
            ("interpolant-sine", interpolant(Sine(0.5))),
            ("rddm", rddm()),
            ("residual-diffusion", rddm(Missing(VP()), Level(VP()))),
        )
    ),
    paired(ddbm(), MODES, name="ddbm-mixture"),
    paired(ddbm(), MODES, 0.8, name="ddbm-coupled"),
    Case(Transport(), X0, context={"source": SOURCE}, name="transport"),
    Case(Gaussian(OneSided()), X0, exact=DATA.denoiser(Gaussian(OneSided())), data=DATA.sample),
)
def test_pinned(case, check):
    check(case)


MASK = torch.tensor([[True, True, False], [True, True, True]])
PLACES = Padded(torch.linspace(-1, 1.2, 12, dtype=torch.float64).reshape(2, 3, 2), MASK)


@checks(
    Case(
        ddbm(),
        PLACES,
        context={"source": Padded(PLACES.data.flip(0), MASK)},
        samplers=SAMPLERS[:2],
        name="ddbm-Padded",
    )
)
def test_padded(case, check):
    check(case)


class PinnedFlow:
    """A correlated normal whose sources tell nothing, with its flow around them."""

    law = FullMixture(
        torch.tensor([[0.5, -1.0]]), torch.tensor([[[0.6, 0.3], [0.3, 0.4]]], dtype=torch.float64)
    )
    source = torch.linspace(-2, 2, 512, dtype=torch.float64).reshape(256, 2)

    def sample(self, n, generator):
        return self.law.sample(n, generator)

    def denoiser(self, process):
        return Corrupted(self.law).denoiser(process).given(source=self.source)

    def flow(self, process, x, t, s):
        before, after = (process.shares(u).source for u in (t, s))
        around = SimpleNamespace(
            alpha=lambda u: process.shares(u).data, sigma=lambda u: process.shares(u).noise
        )
        moved = self.law.flow(around, x - before * self.source, t, s)
        return moved + after * self.source


@checks(
    *(
        SolverCase(
            DBIM(order=order),
            order,
            process.given(source=PinnedFlow.source),
            PinnedFlow(),
            (0.7, 0.3),
            halvings=12 if order > 2 else 0,
            name=f"{name}-{order}",
        )
        for name, process in (("ddbm", ddbm()), ("interpolant", interpolant()))
        for order in (1, 2, 3)
    ),
    *(
        SolverCase(Heun(), 2, p.given(source=PinnedFlow.source), PinnedFlow(), (0.7, 0.3), name=n)
        for n, p in (("ddbm-heun", ddbm()), ("rddm-heun", rddm()))
    ),
)
def test_orders(case, check):
    check(case)


class Slipped(Doob):
    """w where w^(1/2) belongs, in the noise."""

    def shares(self, t):
        a, b, c = super().shares(t)
        return Shares(a, b, c * (1 - self._left(t).exp()).clamp_min(0).sqrt())


class Unscaled(Doob):
    """The source not divided by alpha(1)."""

    def shares(self, t):
        a, b, c = super().shares(t)
        return Shares(a * self._end[0], b, c)


class Amnesiac(Doob):
    """The memory of the diffusion without its end."""

    def memory(self, t):
        return self.schedule.logsnr(t)


class HalvedDoob(Pinned):
    """The term of h halved in the flow, as the score is."""

    def _velocity(self, t):
        schedule = self.path.schedule
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        alpha_rate, sigma_rate = schedule.rates(t)
        square = 2 * sigma * (sigma_rate - alpha_rate / alpha * sigma)
        left = sigma.square() * torch.expm1(-self.path._left(t))
        half = torch.where(t < 1, 0.5 * square / torch.where(t < 1, left, 1.0), 0.0)
        end, data, keep = super()._velocity(t)
        return Shares(end - half * alpha / self.path._end[0], data, keep + half)


class Straying(Pinned):
    """Steps that leave their source out."""

    def _row(self, t, s):
        return super()._row(t, s)._replace(source=torch.zeros_like(s))


class Loose(Pinned):
    """A prior beside the source."""

    def prior(self, like):
        law = super().prior(like)
        return type(law)(law.mean + 0.1)


class Neighbourly(Pinned):
    """The source of the item before."""

    def source(self, like):
        return super().source(like).roll(1, 0)


@dataclass(frozen=True)
class Quickened(Straight):
    """The rate of the noise twice as fast as the noise."""

    def rates(self, t):
        a, b, c = super().rates(t)
        return Shares(a, b, 2 * c)


class PointPull(Pinned):
    """A score without the source."""

    def score(self, q, x, t):
        return self.given(source=torch.zeros_like(x))._bare(q, x, t)

    def _bare(self, q, x, t):
        return super().score(q, x, t)


VPB = VP(0.1, 2.1)
MUTANTS = [
    (paired(Pinned(Slipped(VPB)), name="slipped"), "C10"),
    (paired(Pinned(Unscaled(VPB)), name="unscaled"), "C10"),
    (paired(Pinned(Amnesiac(VPB)), name="amnesiac"), "C1 C3 C12 C15"),
    (paired(HalvedDoob(Doob(VPB))), "C10"),
    (paired(Straying(Straight())), "C1 C3 C15"),
    (paired(Loose(Doob(EDM(5.0)))), "C2 C12"),
    (paired(Neighbourly(Doob(VPB))), "C7 C12 C15"),
    (paired(Pinned(Quickened()), name="quickened"), "C10"),
    (paired(PointPull(Straight())), "C10"),
]


@pytest.mark.parametrize(
    ("broken", "caught_by"), MUTANTS, ids=lambda value: getattr(value, "name", value)
)
def test_mutant_fails_the_named_checks_alone(broken, caught_by):
    said = failures(broken)
    telling = caught_by.split()[0]
    assert said.keys() == set(caught_by.split()), said
    assert said[telling].startswith(f"{telling} ") and "crashed" not in said[telling]
