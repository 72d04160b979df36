"""Diffusion on the simplex keeps the laws of the kit, and mutants of it do not."""

from __future__ import annotations

import torch

from sfumato import Ancestral, Categorical, random
from sfumato_methods.simplex import Dilated, Simplex
from sfumato_methods.solvers import Euler
from sfumato_testing import Case, checks

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
