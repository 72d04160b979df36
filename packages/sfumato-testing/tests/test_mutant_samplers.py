"""Samplers that are broken on purpose: the kit catches each, by the check that it should."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pytest
import torch

from sfumato import Dirac, Frame
from sfumato.sampling import Point, times
from sfumato.state import apply
from sfumato_methods.gaussian import vp
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler, ExponentialAB, Heun, UniPC
from sfumato_testing import Case, FullMixture, SolverCase, checks_of, failures
from sfumato_testing.book import number

X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=torch.float64)
DATA = FullMixture(
    torch.tensor([[0.5, -1.0]]), torch.tensor([[[0.6, 0.3], [0.3, 0.4]]], dtype=torch.float64)
)


@dataclass(frozen=True)
class WrongRatio(DPMSolverPP):
    """The extrapolation twice as far as it should go."""

    def plan(self, process, grid):
        rows = super().plan(process, grid)
        return [(keep, now - before, 2 * before) for keep, now, before in rows]


@dataclass(frozen=True)
class WrongWeight(ExponentialAB):
    """The weights of the two older predictions, exchanged."""

    def plan(self, process, grid):
        return [(keep, a, c, b) for keep, a, b, c in super().plan(process, grid)]


@dataclass(frozen=True)
class HalvedCurvature(DPMSolverPP):
    """Half of what the oldest prediction adds."""

    def plan(self, process, grid):
        parabola = super().plan(process, grid)
        line = ExponentialAB(2).plan(process, grid)
        rows = [(keep, a, b, 0.0) for keep, a, b in line]
        return [
            tuple((u + v) / 2 for u, v in zip(p, q, strict=True))
            for p, q in zip(parabola, rows, strict=True)
        ]


@dataclass(frozen=True)
class WrongTime(UniPC):
    """The corrector takes the step that it corrects for the one before."""

    def plan(self, process, grid):
        rows = super().plan(process, grid)
        plain = ExponentialAB(self.order).plan(process, grid)
        late = [plain[0], *rows[:-1]]
        return [(k, *w) for (k, *_), (_, *w) in zip(rows, late, strict=True)]


@dataclass(frozen=True)
class WrongEta(DDIM):
    """Fresh noise added, but the old noise not taken back."""

    def plan(self, process, grid):
        old = DDIM(0.0).plan(process, grid)
        new = super().plan(process, grid)
        return [(k, d, std) for (k, d, _), (*_, std) in zip(old, new, strict=True)]


@dataclass(frozen=True)
class Uncorrected(Heun):
    """The corrector takes the predictor's velocity twice."""

    def trajectory(self, process, denoiser, x, grid, generator):
        return Euler().trajectory(process, denoiser, x, grid, generator)


class Stateful(DPMSolverPP):
    """History on the sampler itself, as in the schedulers of other libraries."""

    past: deque = deque(maxlen=2)

    def trajectory(self, process, denoiser, x, grid, generator):
        self.past.clear()
        clocks = times(grid)
        for row, t, s in zip(self.plan(process, grid), clocks, clocks[1:], strict=False):
            q = denoiser(x, t)
            self.past.append(Point(t, x, q))
            x = yield Frame(t, s, x, q, self.advance(row, process, self.past, s, generator))


class Deaf(DDIM):
    """Goes on from its own state and not from the one that is sent."""

    def trajectory(self, process, denoiser, x, grid, generator):
        clocks = times(grid)
        for row, t, s in zip(self.plan(process, grid), clocks, clocks[1:], strict=False):
            q = denoiser(x, t)
            after = self.advance(row, process, [Point(t, x, q)], s, generator)
            yield Frame(t, s, x, q, after)
            x = after


class StopsShort(DDIM):
    """Never goes below t = 0.001."""

    def plan(self, process, grid):
        return super().plan(process, torch.where(grid == 0, grid.clamp_min(1e-3), grid))


class GlobalNoise(DDIM):
    """Draws from the global generator, for nothing."""

    def advance(self, row, process, past, s, generator):
        after = super().advance(row, process, past, s, generator)
        return after + apply(after, torch.randn_like) * 0.0


class GradOff(DDIM):
    """Switches gradients off while it runs."""

    def trajectory(self, process, denoiser, x, grid, generator):
        with torch.no_grad():
            yield from super().trajectory(process, denoiser, x, grid, generator)


class Detached(DDIM):
    """Cuts the graph behind the denoiser."""

    def advance(self, row, process, past, s, generator):
        t, x, q = past[-1]
        cut = Point(t, x, Dirac(apply(q.mean, torch.Tensor.detach)))
        return super().advance(row, process, [cut], s, generator)


class InPlace(DDIM):
    """Writes the new state over the one that it was given."""

    def advance(self, row, process, past, s, generator):
        after = super().advance(row, process, past, s, generator)
        apply(past[-1].x.detach(), torch.Tensor.copy_, after.detach())
        return after


class Doubled(DDIM):
    """Works in float64 and forgets to come back."""

    def advance(self, row, process, past, s, generator):
        after = super().advance(row, process, past, s, generator)
        return apply(after, torch.Tensor.double)


class FirstItem(DDIM):
    """Takes the times of the first item for all."""

    def plan(self, process, grid):
        return super().plan(process, grid[:, :1].expand_as(grid) if grid.ndim == 2 else grid)


def sampled(sampler):
    return Case(vp(), X0, samplers=(sampler,))


def solved(sampler, order):
    return SolverCase(sampler, order, vp(), DATA, halvings=12 if order > 2 else 0)


MUTANTS = [
    (solved(WrongRatio(), 2), solved(DPMSolverPP(), 2), "C11"),
    (solved(Uncorrected(), 2), solved(Heun(), 2), "C11"),
    (solved(WrongWeight(), 3), solved(ExponentialAB(), 3), "C11"),
    (solved(HalvedCurvature(3), 3), solved(DPMSolverPP(3), 3), "C11"),
    (solved(WrongTime(), 3), solved(UniPC(), 3), "C11"),
    (sampled(WrongEta(1.0)), sampled(DDIM(1.0)), "C3"),
    (sampled(StopsShort()), sampled(DDIM()), "C3"),
    (sampled(Stateful()), sampled(DPMSolverPP()), "C18"),
    (sampled(Deaf()), sampled(DDIM()), "C17"),
    (sampled(GlobalNoise()), sampled(DDIM()), "C8"),
    (sampled(GradOff()), sampled(DDIM()), "C8 C9"),
    (sampled(Detached()), sampled(DDIM()), "C9"),
    (sampled(InPlace()), sampled(DDIM()), "C5 C9 C13"),
    (sampled(Doubled()), sampled(DDIM()), "C5"),
    (sampled(FirstItem()), sampled(DDIM()), "C7"),
]


def name(value):
    sampler = getattr(value, "sampler", None) or getattr(value, "samplers", [None])[0]
    return value if isinstance(value, str) else type(sampler).__name__


@pytest.mark.parametrize(("broken", "original", "caught_by"), MUTANTS, ids=name)
def test_mutant_fails_the_named_checks_alone(broken, original, caught_by):
    said = failures(broken)
    telling = caught_by.split()[0]
    assert said.keys() == set(caught_by.split()), said
    assert said[telling].startswith(f"{telling} ") and "crashed" not in said[telling]
    for check in checks_of(original):
        if number(check) in said:
            check(original)


def test_each_check_of_a_sampler_has_a_mutant():
    assert {caught_by.split()[0] for *_, caught_by in MUTANTS} >= {"C11", "C17", "C18"}
