"""Diffusion on the simplex keeps the laws of the kit, and mutants of it do not."""

from __future__ import annotations

import pytest
import torch

from sfumato import Ancestral, Categorical, random
from sfumato_methods.simplex import Dilated, Simplex
from sfumato_methods.solvers import Euler
from sfumato_testing import Case, checks, checks_of
from sfumato_testing.book import number

IDS = torch.tensor([[0, 2], [1, 0]])
PROBS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


class Exact:
    """The exact posterior of independent places with the probabilities `PROBS`."""

    def __init__(self, process):
        self.process = process

    def __call__(self, x, t):
        return Categorical(logits=self.process.evidence(x, t).log(x) + PROBS.log())


def data(n, generator):
    return random.categorical(PROBS.expand(n, 2, -1), generator)


def case(process, *samplers):
    return Case(process, IDS, exact=Exact(process), data=data, samplers=samplers)


@checks(case(Simplex(3), Ancestral(), Euler(), Dilated(1.0)))
def test_conformance(case, check):
    check(case)


class FastFlow(Simplex):
    """The drift of the SDE's score for that of the flow: twice the velocity."""

    def velocity(self, q, x, t, row=None):
        return 2 * super().velocity(q, x, t, row)


class Unweighted(Simplex):
    """The score of every class, whatever its probability."""

    def score(self, q, x, t):
        return super().score(Categorical(probs=torch.ones_like(q.mean)), x, t)


class NarrowPrior(Simplex):
    """Points that still know their class at the end."""

    def prior(self, like):
        return self.marginal(self.project(like), torch.tensor(0.8, dtype=torch.float64))


class Hasty(Simplex):
    """A bridge that takes nine tenths of the time to go."""

    def bridge(self, x0, x, t, s, row=None):
        return super().bridge(x0, x, t, s + 0.1 * (t - s) * (s > 0), row)


@pytest.mark.parametrize(
    ("mutant", "law"),
    [(FastFlow, "C10"), (Unweighted, "C10"), (NarrowPrior, "C2"), (Hasty, "C1")],
    ids=lambda v: v if isinstance(v, str) else v.__name__,
)
def test_mutants_are_caught(mutant, law):
    broken = Case(mutant(2), torch.tensor([[0], [1]]))
    (check,) = (check for check in checks_of(broken) if number(check) == law)
    with pytest.raises(AssertionError, match=law):
        check(broken)
