"""The Gaussian step against the closed form of DDPM, and the solvers against `diffusers`."""

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from sfumato import Dirac, Normal, expand, random, run
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
CHAIN = Gaussian(VP.from_betas(BETAS))
X = random.normal(torch.zeros(4, 5, dtype=torch.float64), random.derive(0, "x"))
X0 = random.normal(torch.zeros(4, 5, dtype=torch.float64), random.derive(0, "x0"))
ALPHA_BAR = (1 - BETAS).cumprod(0)


def time(i):
    return torch.tensor(i / 1000, dtype=torch.float64)


@pytest.mark.parametrize("i", [2, 17, 500, 1000])
def test_one_step_of_the_chain_is_the_posterior_of_ddpm(i):
    """Ho et al. 2020, arXiv:2006.11239, eq. 7, in terms of beta and alpha_bar."""
    now, before, beta = ALPHA_BAR[i - 1], ALPHA_BAR[i - 2], BETAS[i - 1]
    mean = before.sqrt() * beta / (1 - now) * X0 + (1 - beta).sqrt() * (1 - before) / (1 - now) * X
    variance = (1 - before) / (1 - now) * beta
    law = CHAIN.bridge(X0, X, time(i), time(i - 1))
    assert torch.allclose(law.mean, mean, rtol=1e-9, atol=1e-11)
    assert float(law.std.square()) == pytest.approx(float(variance), rel=1e-9)


def test_the_first_step_of_the_chain_gives_the_data():
    law = CHAIN.bridge(X0, X, time(1), time(0))
    assert torch.equal(law.mean, X0) and float(law.std) == 0


@pytest.mark.parametrize("schedule", [VP(), VE(), Linear(), Cosine(), EDM()], ids=repr)
def test_a_normal_posterior_adds_its_variance(schedule):
    """Integrating N(c x_0 + k x, v) over x_0 ~ N(m, s^2) gives N(c m + k x, v + c^2 s^2)."""
    process = Gaussian(schedule)
    t, s = (torch.tensor(v, dtype=torch.float64) for v in (0.7, 0.4))
    point, wide = (process.transition(q, X, t, s) for q in (Dirac(X0), Normal(X0, 0.3)))
    unit = process.bridge(torch.ones_like(X), torch.zeros_like(X), t, s).mean
    assert torch.allclose(wide.mean, point.mean, rtol=0, atol=1e-13)
    variance = point.std.square() + (0.3 * unit).square()
    assert torch.allclose(wide.std.square(), variance.expand_as(X), rtol=1e-12)


def denoise(x, alpha, sigma):
    """Exact posterior mean of data N(1, 0.5^2)."""
    gain = 0.25 * alpha / (alpha * alpha * 0.25 + sigma * sigma)
    return 1 + gain * (x - alpha)


def model(process):
    return lambda x, t: Dirac(denoise(x, expand(x, process.alpha(t)), expand(x, process.sigma(t))))


def ours(sampler, process, grid, generator=None):
    *_, last = run(sampler, process, model(process), X, grid, generator)
    return last.after


def theirs(scheduler, chain, indices, **options):
    x = X.clone()
    for i in indices:
        a, s = chain.alpha(time(int(i) + 1)), chain.sigma(time(int(i) + 1))
        eps = (x - a * denoise(x, a, s)) / s
        x = scheduler.step(eps, i, x, **options).prev_sample
    return x


def test_ddim_equals_that_of_diffusers():
    scheduler = DDIMScheduler(trained_betas=BETAS.numpy(), clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(20)
    expected = theirs(scheduler, CHAIN, scheduler.timesteps, eta=0.0)
    grid = torch.tensor([(int(i) + 1) / 1000 for i in scheduler.timesteps] + [0.0]).double()
    assert torch.allclose(ours(DDIM(), CHAIN, grid), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_noise_has_their_variance(eta):
    scheduler = DDIMScheduler(trained_betas=BETAS.numpy(), clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(20)
    i = scheduler.timesteps[5]
    noise = random.normal(X, random.derive(1, "noise"))
    a, s = CHAIN.alpha(time(int(i) + 1)), CHAIN.sigma(time(int(i) + 1))
    eps = (X - a * denoise(X, a, s)) / s
    expected = scheduler.step(eps, i, X, eta=eta, variance_noise=noise).prev_sample
    grid = torch.stack([time(int(i) + 1), time(int(i) + 1 - 50)])
    assert torch.allclose(
        ours(DDIM(eta), CHAIN, grid, random.derive(1, "noise")), expected, rtol=0, atol=1e-5
    )


def test_dpm_solver_pp_equals_that_of_diffusers():
    scheduler = DPMSolverMultistepScheduler(
        trained_betas=BETAS.numpy(),
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(20)
    expected = theirs(scheduler, CHAIN, scheduler.timesteps)
    grid = torch.tensor([(int(i) + 1) / 1000 for i in scheduler.timesteps] + [0.0]).double()
    assert torch.allclose(ours(DPMSolverPP(), CHAIN, grid), expected, rtol=0, atol=1e-5)


def test_euler_equals_that_of_diffusers_on_the_straight_line():
    process = Gaussian(Linear())
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(20)
    x = X.clone()
    for sigma, t in zip(scheduler.sigmas[:-1].double(), scheduler.timesteps, strict=True):
        velocity = (x - denoise(x, 1 - sigma, sigma)) / sigma
        x = scheduler.step(velocity, t, x).prev_sample
    grid = scheduler.sigmas.double()
    assert torch.allclose(ours(Euler(), process, grid), x.double(), rtol=0, atol=1e-5)
