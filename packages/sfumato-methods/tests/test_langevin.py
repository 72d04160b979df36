"""Annealed Langevin dynamics: its stationary law, its calls, and where it has nothing to follow."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Dirac, InputError, random, run, sample
from sfumato_methods.gaussian import VE, VP, Gaussian, linear
from sfumato_methods.grids import logsnr, uniform
from sfumato_methods.solvers import S4, AnnealedLangevin


@pytest.mark.parametrize("schedule", [VE(0.1, 3.0), VP()], ids=["ve", "vp"])
def test_the_stationary_variance_of_a_normal_law_is_that_of_the_discrete_chain(schedule):
    """x' = (1 - e/(2 V)) x + e^(1/2) n forgets its start; z bound 5, false alarm 6e-7."""
    process, v, n = Gaussian(schedule), 0.25, 200_000
    sampler = AnnealedLangevin(moves=300, step=0.5)
    grid = torch.tensor([0.5, 0.4], dtype=torch.float64)
    alpha, sigma = float(process.alpha(grid[0])), float(process.sigma(grid[0]))
    whole = alpha**2 * v + sigma**2

    def denoise(x, t):
        return Dirac(x * (alpha * v / whole))

    x = torch.full((n, 1), 2.0, dtype=torch.float64)
    (frame,) = run(sampler, process, denoise, x, grid, random.derive(0, "langevin"))
    e = sampler.step * sigma**2
    want = e / (1 - (1 - e / (2 * whole)) ** 2) * float(process.alpha(grid[1])) ** 2 / alpha**2
    found = float(frame.after.square().mean())
    assert abs(found / want - 1) < 5 * math.sqrt(2 / n)
    assert abs(want / (whole * float(process.alpha(grid[1])) ** 2 / alpha**2) - 1) > 0.03


def test_it_ends_at_the_mean_and_calls_so_often():
    calls = []

    def denoise(x, t):
        calls.append(float(t))
        return Dirac(torch.full_like(x, 0.7))

    process = Gaussian(VE(0.1, 3.0))
    x = sample(
        process, denoise, torch.zeros(3, 2), sampler=AnnealedLangevin(moves=4),
        grid=logsnr(process, 5), generator=random.derive(0, "g"),
    )  # fmt: skip
    assert torch.equal(x, torch.full_like(x, 0.7)) and len(calls) == 5 * 4 + 1


def test_it_begins_where_nothing_is_left_of_the_data():
    x = sample(
        linear(), lambda x, t: Dirac(0.5 * x), torch.zeros(4, 2), sampler=AnnealedLangevin(),
        grid=uniform(linear(), 3), generator=random.derive(0, "g"),
    )  # fmt: skip
    assert bool(x.isfinite().all()) and float(x.abs().max()) > 0


def test_parameters_that_make_no_sense_are_told():
    for wrong in ({"moves": 0}, {"step": 0.0}, {"step": 4.0}):
        with pytest.raises(InputError, match="begins to diverge"):
            AnnealedLangevin(**wrong)


@pytest.mark.parametrize(
    "process", [Gaussian(VE(0.1, 3.0)), Gaussian(VP()), linear()], ids=["ve", "vp", "linear"]
)
def test_without_its_langevin_step_s4_is_the_transition_of_the_process(process):
    """All of the first and the last step included: where noise is all, and where it ends."""
    grid = uniform(process, 4)
    x = random.normal(torch.zeros(3, 2).double(), random.derive(0, "x"))
    mean = 0.3 * x + 0.1
    for row, t, s in zip(S4().plan(process, grid), grid, grid[1:], strict=False):
        *_, keep, gain, std = row
        law = process.transition(Dirac(mean), x, t, s)
        assert torch.allclose(keep * x + gain * mean, law.mean, rtol=1e-12, atol=1e-14)
        draws = law.sample(random.derive(1, "n")) - law.mean
        noise = random.normal(x, random.derive(1, "n"))
        assert torch.allclose(draws, std * noise, rtol=1e-10, atol=1e-12)


def test_s4_draws_the_law_of_the_data_to_first_order_in_the_step():
    """Normal data of deviation 0.3, 200,000 numbers: 4.5 standard errors are 0.7 % (1e-5)."""
    process, errors = Gaussian(VP()), []

    def denoise(x, t):
        a, s = process.alpha(t), process.sigma(t)
        return Dirac(x * (a * 0.09 / (a * a * 0.09 + s * s)))

    for steps in (50, 100, 200):
        found = sample(
            process, denoise, torch.zeros(2000, 100).double(), sampler=S4(snr=0.05),
            grid=logsnr(process, steps), generator=random.derive(3, "s4"),
        )  # fmt: skip
        errors.append(abs(float(found.std()) / 0.3 - 1))
    assert errors[1] < 0.6 * errors[0] and errors[2] < 0.6 * errors[1] and errors[2] < 0.03
