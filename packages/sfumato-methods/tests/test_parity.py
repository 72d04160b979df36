"""The same methods elsewhere: trajectories agree, or a test names what keeps them apart.

Everything runs in float64 on one grid, and the noise levels of a scheduler are overwritten with
ours: their tables are of float32. Where theirs casts the state to float32, 1e-5 is asked for, else
1e-6 (of states of order 1).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torchdiffeq
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
)

from sfumato import run
from sfumato.process import rows
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VP, Gaussian
from sfumato_methods.solvers import (
    DDIM,
    RK4,
    Dopri5,
    DPMSolver,
    DPMSolverPP,
    Euler,
    ExponentialAB,
    Heun,
    RhoAB,
    UniPC,
)
from sfumato_methods.solvers.affine import exponential, half_logsnr
from sfumato_methods.solvers.exponential import corrections, scaled_moments
from sfumato_methods.solvers.runge_kutta import SHARE
from sfumato_methods.solvers.tableaux import Tableau
from sfumato_testing import DiagonalMixture

FLOAT = torch.float64
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=FLOAT)
DDPM, SIGMAS = Gaussian(VP.from_betas(BETAS)), Gaussian(EDM())
DATA = DiagonalMixture(torch.zeros(1, 3, dtype=FLOAT), [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])
START = torch.linspace(-1.5, 2, 12, dtype=FLOAT).reshape(4, 3)
GRID = grids.logsnr(DDPM, 12, sigma_min=0.05)
OPEN = GRID[:-1]  # to a small noise level and not to 0
TABLE = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, prediction_type="epsilon")


def ours(sampler, grid, process=DDPM, x=START):
    for frame in run(sampler, process, DATA.denoiser(process), x, grid, torch.Generator()):
        x = frame.after
    return x


def levels(grid, process=DDPM):
    return process.sigma(grid) / process.alpha(grid)


def variance_preserving(scheduler, grid):
    """Their loop on our grid; states are alpha x_0 + sigma eps."""
    denoise, x = DATA.denoiser(DDPM), START
    scheduler.set_timesteps(len(grid) - 1)
    scheduler.sigmas = levels(grid)
    for t, step in zip(grid, scheduler.timesteps, strict=False):
        eps = (x - DDPM.alpha(t) * denoise(x, t).mean) / DDPM.sigma(t)
        x = scheduler.step(eps, step, x).prev_sample
    return x


def unscaled(scheduler, grid):
    """Their loop on our grid; states are x_0 + sigma eps, as those of `SIGMAS`."""
    denoise, x = DATA.denoiser(SIGMAS), START * 80
    scheduler.set_timesteps(len(grid) - 1)
    scheduler.sigmas = levels(grid, SIGMAS)
    for t, step in zip(grid, scheduler.timesteps, strict=False):
        scheduler.scale_model_input(x, step)
        sigma = SIGMAS.sigma(t)
        x = scheduler.step((x - denoise(x, t).mean) / sigma, step, x).prev_sample
    return x


def preconditioned(scheduler, grid):
    """Their loop for networks of Karras et al. 2022: what is returned is made to mean x_0."""
    denoise, x = DATA.denoiser(SIGMAS), START * 80
    scheduler.set_timesteps(len(grid) - 1)
    scheduler.sigmas = levels(grid, SIGMAS)
    for t, step in zip(grid, scheduler.timesteps, strict=False):
        sigma, data = SIGMAS.sigma(t), scheduler.config.sigma_data
        scheduler.scale_model_input(x, step)
        skip = data**2 / (sigma**2 + data**2)
        out = sigma * data / (sigma**2 + data**2).sqrt()
        x = scheduler.step((denoise(x, t).mean - skip * x) / out, step, x).prev_sample
    return x


def near(a, b, tolerance):
    return float((a - b).abs().max()) < tolerance * (1 + float(b.abs().max()))


PAIRS = [
    (DPMSolverPP(2), DPMSolverMultistepScheduler, dict(solver_order=2), GRID, 1e-5),
    (DPMSolverPP(2), DPMSolverMultistepScheduler, dict(solver_order=2, lower_order_final=False),
     GRID, 1e-5),
    (ExponentialAB(1), DPMSolverMultistepScheduler, dict(solver_order=1), GRID, 1e-5),
    (DPMSolver(2, "data"), DPMSolverSinglestepScheduler,
     dict(solver_order=2, lower_order_final=True), GRID, 1e-6),
    *((ExponentialAB(k, "noise"), DEISMultistepScheduler, dict(solver_order=k), OPEN, 1e-6)
      for k in (1, 2, 3)),
    *((UniPC(k, p, s), UniPCMultistepScheduler,
       dict(solver_order=k, solver_type=b, predict_x0=p == "data", lower_order_final=False),
       OPEN, 1e-6)
      for k in (1, 2, 3) for p in ("data", "noise") for s, b in (("h", "bh1"), ("expm1", "bh2"))),
    (UniPC(2), UniPCMultistepScheduler, dict(solver_order=2), GRID, 1e-6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sampler", "kind", "options", "grid", "tolerance"), PAIRS, ids=lambda v: str(v)[:48]
)
def test_schedulers_of_diffusers(sampler, kind, options, grid, tolerance):
    options = {"lower_order_final": False, **options} if kind is DEISMultistepScheduler else options
    theirs = variance_preserving(kind(**TABLE, **options), grid)
    assert near(theirs, ours(sampler, grid), tolerance)


@dataclass(frozen=True)
class Released(DPMSolverPP):
    """(3M) as in the released code: the second derivative halved, and started by (2M)."""

    order: int = 3

    def plan(self, process, grid):
        keep, data = exponential(process, grid)
        steps = half_logsnr(process, grid)
        depth = steps.depth(2)
        one, two, three = scaled_moments(process, grid, steps.h, 3, "data")
        weights = corrections([one, two, 0.5 * three], steps.nodes(2, depth), depth)
        parabola = rows(grid, keep, data + weights[0], *weights[1:])
        start = DPMSolverPP(2).plan(process, grid)
        return [*((*row, 0.0) for row in start[:2]), *parabola[2:]]


def test_their_third_order_multistep_halves_the_second_derivative():
    """In `multistep_dpm_solver_third_order_update` D2 is a divided difference, x''/2, and is used
    as x''; with it halved once more in ours, the two agree. (C11 shows that it is of order 2.)"""
    scheduler = DPMSolverMultistepScheduler(**TABLE, solver_order=3, lower_order_final=False)
    theirs = variance_preserving(scheduler, GRID)
    assert near(theirs, ours(Released(), GRID), 1e-5)
    assert not near(theirs, ours(DPMSolverPP(3), GRID), 1e-3)


@dataclass(frozen=True)
class Halved(DPMSolver):
    """Third-order single steps whose second evaluation is reached as by second-order ones."""

    def plan(self, process, grid):
        plan = list(super().plan(process, grid))
        for start in range(0, len(plan) - 3, 3):
            two = grid[start : start + 3]
            plan[start + 1] = _longer(DPMSolver(2, self.predict).plan(process, two)[1])
        return plan


def _longer(row):
    a0, a1, d0, d1 = row
    return (a0, a1, 0.0, d0, d1, 0.0)


def test_their_third_order_single_steps_take_the_second_stage_by_the_second_order_rule():
    """Lu et al. 2022 (algorithm 5) weigh it by (e^h - 1)/h - 1, theirs by (e^h - 1)/2."""
    scheduler = DPMSolverSinglestepScheduler(**TABLE, solver_order=3, lower_order_final=True)
    theirs = variance_preserving(scheduler, GRID)
    assert near(theirs, ours(Halved(3, "data"), GRID), 1e-6)
    assert near(theirs, ours(DPMSolver(3, "data"), GRID), 0.05)


@pytest.mark.parametrize("grid", [grids.karras(SIGMAS, 9), grids.logsnr(SIGMAS, 9)])
def test_unscaled_schedulers_of_diffusers(grid):
    table = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    assert near(unscaled(EulerDiscreteScheduler(**table), grid), ours_unscaled(DDIM(), grid), 1e-5)
    euler = unscaled(EulerDiscreteScheduler(**table), grid)
    assert near(euler, ours_unscaled(Euler(), grid), 1e-5)
    assert near(unscaled(LMSDiscreteScheduler(**table), grid), ours_unscaled(RhoAB(3), grid), 1e-6)


def ours_unscaled(sampler, grid):
    return ours(sampler, grid, SIGMAS, START * 80)


def test_heun_of_diffusers():
    """It lists each inner noise level twice and is called once for each entry."""
    grid = grids.karras(SIGMAS, 7)
    scheduler = HeunDiscreteScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    scheduler.set_timesteps(7)
    sigma = levels(grid, SIGMAS)
    scheduler.sigmas = torch.cat([sigma[:1], sigma[1:-1].repeat_interleave(2), sigma[-1:]])
    denoise, x = DATA.denoiser(SIGMAS), START * 80
    for step, level in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        scheduler.scale_model_input(x, step)
        x = scheduler.step((x - denoise(x, level / 80).mean) / level, step, x).prev_sample
    assert near(x, ours_unscaled(Heun(), grid), 1e-5)


def test_preconditioned_schedulers_of_diffusers():
    grid = grids.karras(SIGMAS, 9)
    for order, sampler in ((1, ExponentialAB(1)), (2, DPMSolverPP(2))):
        scheduler = EDMDPMSolverMultistepScheduler(solver_order=order)
        assert near(preconditioned(scheduler, grid), ours_unscaled(sampler, grid), 1e-5)
    assert near(preconditioned(EDMEulerScheduler(), grid), ours_unscaled(DDIM(), grid), 1e-5)


def test_ddim_of_diffusers():
    scheduler = DDIMScheduler(**TABLE, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    scheduler.alphas_cumprod = torch.cumprod(1 - BETAS, 0)
    # its last step is from the time 1 of the table and lands at alpha = 1
    grid = torch.cat([(scheduler.timesteps + 1).double() / 1000, torch.zeros(1, dtype=FLOAT)])
    denoise, x = DATA.denoiser(DDPM), START
    for t, step in zip(grid, scheduler.timesteps, strict=False):
        eps = (x - DDPM.alpha(t) * denoise(x, t).mean) / DDPM.sigma(t)
        x = scheduler.step(eps, step, x).prev_sample
    assert near(x, ours(DDIM(), grid), 1e-6)


class ThreeEighths(RK4):
    """What torchdiffeq calls rk4: Kutta's 3/8 rule."""

    def _method(self):
        stages = ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0))
        return Tableau("3/8", stages, (1 / 8, 3 / 8, 3 / 8, 1 / 8)), SHARE


def _line(process):
    """The flow in the share of noise, from the contract alone."""
    denoise = DATA.denoiser(process)

    def rate(w, y):
        t = process.time(2 * (torch.log1p(-w) - w.log()))
        scale = process.alpha(t) + process.sigma(t)
        x = y * scale
        return (y - denoise(x, t).mean) / w

    return rate


@pytest.mark.parametrize("process", [Gaussian(VP()), SIGMAS], ids=repr)
def test_torchdiffeq(process):
    share = torch.linspace(0.9, 0.05, 9, dtype=FLOAT)
    grid = process.time(2 * (torch.log1p(-share) - share.log()))
    scale = (process.alpha(grid) + process.sigma(grid))[[0, -1]]
    start = START * scale[0]

    def theirs(**options):
        ends = torchdiffeq.odeint(_line(process), START, share, **options)
        return ends[-1] * scale[1]

    fixed = theirs(method="rk4")
    assert near(fixed, ours(ThreeEighths(), grid, process, start), 1e-8)
    fine = theirs(method="dopri8", rtol=1e-11, atol=1e-11)
    assert near(fine, ours(Dopri5(1e-9, 1e-9), grid, process, start), 1e-7)
    many = grids.explicit(np.interp(np.arange(0, 8.01, 0.05), np.arange(9), grid.numpy()))
    assert near(fine, ours(RK4(), many, process, start), 1e-7)


def test_every_method_of_order_two_and_more_converges_to_the_same_solution():
    fine = torch.cat([a + (b - a) * torch.linspace(0, 1, 101, dtype=FLOAT)[:-1]
                      for a, b in itertools.pairwise(OPEN)] + [OPEN[-1:]])  # fmt: skip
    want = ours(RK4(), fine)
    for sampler in (ExponentialAB(4), UniPC(3), RhoAB(3), DPMSolver(3), DPMSolverPP(2)):
        assert near(ours(sampler, fine), want, 1e-4 if sampler == DPMSolverPP(2) else 1e-6)
