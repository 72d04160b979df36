"""Rotations and angles keep the laws of the kit, and mutants of them do not."""

from __future__ import annotations

import pytest
import torch

from sfumato import Ancestral, Dirac, Mixture, random
from sfumato_methods.manifolds import Geodesic, Rotations, Torus, rotation
from sfumato_testing import Case, checks, checks_of
from sfumato_testing.book import number

ANGLES = torch.tensor([[0.3, -2.9], [2.5, 1.1]], dtype=torch.float64)
TURNS = rotation(torch.tensor([[0.4, -1.1, 0.6], [-0.2, 0.5, 2.4]], dtype=torch.float64))
ODDS = torch.tensor([0.6, 0.4], dtype=torch.float64)


def exact_angles(process):
    """The exact posterior of data that are row 0 or 1 of `ANGLES`."""

    def denoise(x, t):
        every = [row.expand_as(x) for row in ANGLES]
        log = torch.stack([-process.marginal(row, t).nll(x) for row in every], 1) + ODDS.log()
        return Mixture(log.softmax(1), [Dirac(row) for row in every])

    return denoise


def data(n, generator):
    return ANGLES[random.categorical(ODDS.expand(n, 2), generator)]


def angles(process):
    samplers = (Ancestral(), Geodesic(1.0))
    return Case(process, ANGLES, exact=exact_angles(process), data=data, samplers=samplers)


@checks(angles(Torus(0.05, 3.14)))
def test_torus(case, check):
    check(case)


@checks(Case(Rotations(), TURNS, samplers=(Ancestral(), Geodesic(1.0)), frames=False))
def test_rotations(case, check):
    check(case)


class Straight(Torus):
    """A bridge that never goes around."""

    def _picked(self, x0, x, sigma, generator):
        return torch.full_like(x, 4, dtype=torch.long)


class Unturned(Torus):
    """The score of one turn alone."""

    def slope(self, x0, x, t):
        return -(x - x0) / self.sigma(t).square()


class Early(Rotations):
    """A prior before it is uniform."""

    def prior(self, like):
        return self.marginal(TURNS[:1].expand_as(like), torch.tensor(0.6, dtype=torch.float64))


class Flat(Rotations):
    """The score of flat space, which never turns back."""

    def slope(self, x0, x, t):
        return super().slope(x0, x, torch.as_tensor(t) * 0.9)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Case(Straight(), ANGLES), "C1"),
        (Case(Unturned(), ANGLES), "C10"),
        (Case(Early(), TURNS), "C2"),
        (Case(Flat(), TURNS), "C3"),
    ],
    ids=["straight", "unturned", "early", "flat"],
)
def test_mutants_are_caught(broken, law):
    (check,) = (check for check in checks_of(broken) if number(check) == law)
    with pytest.raises(AssertionError, match=law):
        check(broken)
