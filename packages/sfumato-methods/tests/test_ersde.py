"""Stochastic solvers: coefficients, laws of their ends without a draw, parity, calls, ends."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

from sfumato import Ancestral, Dirac, InputError, expand, random, run, sample
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import (
    DDIM,
    ERSDE,
    SEEDS,
    ChurnHeun,
    EulerMaruyama,
    RestartHeun,
    SDEDPMSolverPP,
    churn,
    ersde,
    linear,
    seeds,
)
from sfumato_methods.solvers.churn import Interval

FLOAT = torch.float64
PROCESSES = [Gaussian(s) for s in (VP(), VE(), Linear(), Cosine(), EDM())]
PHIS = [
    ersde.ODE,
    ersde.REVERSE_SDE,
    ersde.POWER_3_2,
    ersde.POWER_5_2,
    ersde.LOGARITHMIC,
    ersde.ER_SDE_5,
]
MEAN, VARIANCE = 0.7, 0.3**2


def exact(process):
    """E[x0 | x] for data N(0.7, 0.3^2): affine in x, so that all laws stay normal."""

    def denoise(x, t):
        a, s = expand(x, process.alpha(t)), expand(x, process.sigma(t))
        return Dirac(MEAN + (x - a * MEAN) * (a * VARIANCE / (a * a * VARIANCE + s * s)))

    return denoise


def moments(sampler, process, grid):
    """Mean and variance of the law of what a sampler ends in, without a draw.

    The sampler is affine in its start and in each of its draws: every item of a batch sees one of
    them as 1 and the others as 0.
    """
    draws = int(driven(sampler, process, grid, 1)[1])
    x, _ = driven(sampler, process, grid, draws + 2)
    return float(x[0]), float((x[1:] - x[0]).square().sum())


def driven(sampler, process, grid, batch):
    count = 0

    def noise(process, like, generator):
        nonlocal count
        count += 1
        unit = torch.zeros_like(like)
        unit[count + 1 : count + 2] = 1.0
        return unit

    mean, variance = wanted(process, grid[0])
    x = torch.full((batch, 1), mean, dtype=FLOAT)
    x[1:2] += math.sqrt(variance)
    with pytest.MonkeyPatch.context() as patch:
        for module in (linear, seeds, churn):
            patch.setattr(module, "noise", noise)
        for frame in run(sampler, process, exact(process), x, grid, torch.Generator()):
            x = frame.after
    return x, count


def wanted(process, t):
    a, s = float(process.alpha(t)), float(process.sigma(t))
    return a * MEAN, a * a * VARIANCE + s * s


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_first_order_is_ddim_for_x_and_ancestral_for_its_square(process):
    grid = grids.logsnr(process, 12)
    for (keep, std, data), (k, d, s) in zip(
        ERSDE(ersde.ODE, 1).plan(process, grid), DDIM().plan(process, grid), strict=True
    ):
        assert (keep, data, std) == pytest.approx((k, d, s), abs=1e-12)
    for (keep, std, data), step in zip(
        ERSDE(ersde.REVERSE_SDE, 1).plan(process, grid), process.plan(grid), strict=True
    ):
        assert (data, keep, std) == pytest.approx(tuple(step), abs=1e-12)


@pytest.mark.parametrize("phi", PHIS, ids=repr)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_every_step_keeps_the_marginal_of_known_data(process, phi):
    """With D = x0 the law stays N(alpha x0, sigma^2): keep alpha + data and keep, std agree."""
    if phi is ersde.LOGARITHMIC and not math.isfinite(float(process.logsnr(torch.ones(())))):
        return
    grid = grids.logsnr(process, 9)
    alpha, sigma = process.alpha(grid), process.sigma(grid)
    keep, data, std = ersde.extended(process, grid, phi)
    assert torch.allclose(keep * alpha[:-1] + data, alpha[1:], rtol=0, atol=1e-14)
    kept = (keep * sigma[:-1]).square() + std.square()
    assert torch.allclose(kept, sigma[1:].square(), rtol=1e-12, atol=1e-18)


def test_integrals_in_closed_form():
    """For phi = x: l' log(l/l') - (l - l'), and with the first moment; for phi = x^2 likewise."""
    high, m = torch.tensor([3.0, 0.5]).double(), torch.tensor([0.2, 0.4]).double()
    first, second = ersde._integrals(ersde.ODE, high, m)
    assert torch.allclose(first, m * (high / m).log() - (high - m), rtol=1e-13)
    moment = m * (high - m) - high * m * (high / m).log() + 0.5 * (high - m).square()
    assert torch.allclose(second, moment, rtol=1e-12)
    first, second = ersde._integrals(ersde.REVERSE_SDE, high, m)
    assert torch.allclose(first, m * m * (1 / m - 1 / high) - (high - m), rtol=1e-13)
    moment = m * m * ((high / m).log() - high * (1 / m - 1 / high)) + 0.5 * (high - m).square()
    assert torch.allclose(second, moment, rtol=1e-12)


@pytest.mark.parametrize("phi", PHIS, ids=repr)
def test_quadrature_has_converged(phi, monkeypatch):
    high, m = torch.tensor([150.0, 3.0]).double(), torch.tensor([0.002, 2.9]).double()
    fine = ersde._integrals(phi, high, m)
    monkeypatch.setattr(ersde, "_NODES", 128)
    for one, two in zip(ersde._integrals(phi, high, m), fine, strict=True):
        assert torch.allclose(one, two, rtol=1e-9)


def test_a_prediction_linear_in_the_level_is_integrated_exactly():
    """D = 2 + 3 l in v = x/alpha: from the second step on order 2 and 3 land on the closed form."""
    process = Gaussian(EDM())
    grid = torch.tensor([0.5, 0.3, 0.2, 0.1, 0.04]).double()
    level = 80 * grid

    def denoise(x, t):
        return Dirac(torch.full_like(x, float(2 + 3 * 80 * t)))

    for order in (2, 3):
        x = [torch.zeros(1, 1, dtype=FLOAT)]
        for frame in run(ERSDE(ersde.ODE, order), process, denoise, x[0], grid, None):
            x.append(frame.after)
        for i in range(1, 4):
            r = level[i + 1] / level[i]
            want = r * x[i] + 2 * (1 - r) + 3 * level[i + 1] * (level[i] / level[i + 1]).log()
            assert torch.allclose(x[i + 1], want, rtol=1e-12)


def test_the_third_order_is_the_published_formula():
    """D = l^2 with its differences as published: D' one-sided, D'' = 2 (D' - D'_before)/span."""
    process = Gaussian(EDM())
    grid = torch.tensor([0.5, 0.3, 0.2, 0.1, 0.04]).double()
    level, x = 80 * grid, torch.zeros(1, 1, dtype=FLOAT)

    def denoise(x, t):
        return Dirac(torch.full_like(x, float((80 * t) ** 2)))

    for i, frame in enumerate(run(ERSDE(ersde.ODE, 3), process, denoise, x, grid, None)):
        if i >= 2:
            high, low = level[i], level[i + 1]
            slope = high + level[i - 1]
            bend = 2 * (slope - level[i - 1] - level[i - 2]) / (high - level[i - 2])
            log = (high / low).log()
            first = low * log - (high - low)
            second = low * (high - low) - high * low * log + 0.5 * (high - low) ** 2
            r = low / high
            want = r * x + (1 - r) * high**2 + first * slope + second * bend
            assert torch.allclose(frame.after, want, rtol=1e-12)
        x = frame.after


def test_a_falling_phi_is_refused_with_the_place():
    bad = ersde.Phi("x^0.5", lambda x: -0.5 * x.log())
    process = Gaussian(VP())
    with pytest.raises(
        InputError, match=r"Phi\(x\^0.5\) asks for noise of negative variance from t = 1 to"
    ):
        ERSDE(bad).plan(process, grids.uniform(process, 4))
    with pytest.raises(InputError, match="negative variance"):  # falls above l of about 1,000
        ERSDE(ersde.LOGARITHMIC).plan(Gaussian(Linear()), grids.uniform(process, 4))
    with pytest.raises(InputError, match="order must be"):
        ERSDE(order=4)


LAWS = [
    (ERSDE(order=1), 1),
    (ERSDE(order=2), 2),
    (ERSDE(order=3), 2),
    (ERSDE(ersde.POWER_5_2, 2), 2),
    (SDEDPMSolverPP(), 2),
    (SEEDS(), 2),
    (ChurnHeun(5.0), 2),
    (EulerMaruyama(), 1),
]


def missed(sampler, process, steps):
    """Errors of the mean and of the variance at the end, from t = 0.8 to 0.2."""
    grid = torch.linspace(0.8, 0.2, steps + 1, dtype=FLOAT)
    found = moments(sampler, process, grid)
    return [abs(a - b) for a, b in zip(found, wanted(process, grid[-1]), strict=True)]


@pytest.mark.parametrize(("sampler", "order"), LAWS, ids=repr)
@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(Linear())], ids=repr)
def test_mean_and_variance_converge_on_a_normal_target(process, sampler, order):
    """The law of the end, computed without a draw: weak order, within 0.15.

    Exponential solvers that keep alpha keep the mean of any law whatever the steps.
    """
    coarse, fine = (missed(sampler, process, steps) for steps in (80, 160))
    assert fine[0] < (1e-5 if sampler == EulerMaruyama() else 1e-13)
    slope = math.log2(coarse[1] / fine[1])
    assert abs(slope - order) < 0.15, (slope, coarse, fine)


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(Linear())], ids=repr)
def test_restarts_converge_in_law_as_the_steps_of_their_ways_do(process):
    coarse, fine = (
        missed(RestartHeun((Interval(0.5, 1.5, 2, n // 4),)), process, n)[1] for n in (80, 160)
    )
    assert abs(math.log2(coarse / fine) - 2) < 0.15


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(Linear())], ids=repr)
def test_three_stages_are_more_accurate_than_two(process):
    for steps in (10, 20, 40, 80):
        assert missed(SEEDS(3), process, steps)[1] < 0.1 * missed(SEEDS(), process, steps)[1]


def test_sde_dpm_solver_pp_equals_that_of_diffusers_on_the_same_noise():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=FLOAT)
    process = Gaussian(VP.from_betas(betas))
    scheduler = DPMSolverMultistepScheduler(
        trained_betas=betas.numpy(),
        algorithm_type="sde-dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
        lower_order_final=False,
    )
    scheduler.set_timesteps(20)
    grid = torch.tensor([(int(i) + 1) / 1000 for i in scheduler.timesteps] + [0.0]).double()
    x = random.normal(torch.zeros(4, 5, dtype=FLOAT), random.derive(0, "start"))
    *_, frame = run(SDEDPMSolverPP(), process, exact(process), x, grid, random.derive(1, "noise"))
    generator, y = random.derive(1, "noise"), x
    for i, t in zip(scheduler.timesteps, grid, strict=False):
        a, s = process.alpha(t), process.sigma(t)
        eps = (y - a * exact(process)(y, t).mean) / s
        noise = random.normal(y, generator) if i != scheduler.timesteps[-1] else torch.zeros_like(y)
        y = scheduler.step(eps, i, y, variance_noise=noise).prev_sample
    assert torch.allclose(frame.after, y, rtol=0, atol=1e-5)  # their tables are float32


def test_the_square_is_euler_ancestral_of_diffusers_on_the_same_noise():
    scheduler = EulerAncestralDiscreteScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(12)
    levels = scheduler.sigmas.double()
    process = Gaussian(EDM(float(levels[0])))
    x = levels[0] * random.normal(torch.zeros(4, 5, dtype=FLOAT), random.derive(0, "start"))
    grid = levels / levels[0]
    noisy = ERSDE(ersde.REVERSE_SDE, 1)
    *_, frame = run(noisy, process, exact(process), x, grid, random.derive(1, "noise"))
    y, generator = x, torch.Generator().manual_seed(0)
    draws = random.derive(1, "noise")
    for i, t, now in zip(scheduler.timesteps, grid, levels, strict=False):
        eps = (y - exact(process)(y, t).mean) / now
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor",
                lambda shape, **options: random.normal(torch.empty(shape, dtype=FLOAT), draws),
            )
            y = scheduler.step(eps, i, y, generator=generator).prev_sample.double()
    assert torch.allclose(frame.after, y, rtol=0, atol=2e-5)  # their levels are float32


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        (ERSDE(), lambda n: n),
        (SDEDPMSolverPP(), lambda n: n),
        (EulerMaruyama(), lambda n: n),
        (SEEDS(), lambda n: 2 * n - 1),
        (SEEDS(3), lambda n: 3 * n - 2),
    ],
    ids=lambda one: repr(one) if hasattr(one, "needs") else "calls",
)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_calls_are_exact(sampler, calls, steps):
    process, count = Gaussian(VP()), 0

    def denoise(x, t):
        nonlocal count
        count += 1
        return exact(process)(x, t)

    x = sample(
        process,
        denoise,
        torch.zeros(3, 2, dtype=FLOAT),
        sampler=sampler,
        grid=grids.logsnr(process, steps),
        generator=random.derive(0, "calls"),
    )
    assert count == calls(steps) and bool(x.isfinite().all())


def test_seeds_of_a_constant_prediction_is_ancestral_in_law():
    """The noise of the stages adds up to that of one step: variance sigma_s^2 (1 - e^{-2h})."""
    process = Gaussian(VP())
    grid = torch.tensor([0.8, 0.5], dtype=FLOAT)
    for stages in (2, 3):
        ((final, inner),) = SEEDS(stages)._plan(process, grid)
        variance = 0.0
        for _, (_, _, _, decay, std) in inner:
            variance = decay**2 * variance + std**2
        variance = final[3] ** 2 * variance + final[4] ** 2
        assert variance == pytest.approx(process.plan(grid)[0].std ** 2, rel=1e-12)
    assert Ancestral().plan(process, grid)[0].keep == pytest.approx(final[0], rel=1e-12)
