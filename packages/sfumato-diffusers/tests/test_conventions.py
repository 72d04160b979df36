"""Clocks, schedules and conventions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from sfumato import Unsupported
from sfumato_diffusers import convention
from sfumato_diffusers.clocks import Indices, Quarter, Share
from sfumato_diffusers.conventions import Clip, Quantile
from sfumato_diffusers.schedules import ZeroTerminal
from sfumato_methods.gaussian import Gaussian
from sfumato_testing import Case, checks

CHAINS = [
    DDPMScheduler(),
    DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    DDPMScheduler(trained_betas=[0.1, 0.2, 0.3]),
    DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
]


@pytest.mark.parametrize("scheduler", CHAINS, ids=range(len(CHAINS)))
def test_every_entry_of_a_chain_has_its_time_and_its_index(scheduler: Any) -> None:
    rules = convention(scheduler)
    table = scheduler.alphas_cumprod.double()
    t = (torch.arange(len(table), dtype=torch.float64) + 1) / len(table)
    alpha, sigma = rules.process.alpha(t), rules.process.sigma(t)
    assert (alpha.square() - table).abs().max() < 1e-14
    assert (sigma.square() - (1 - table)).abs().max() < 1e-14
    index = rules.clock.timestep((sigma / alpha).log())
    assert torch.equal(index, torch.arange(len(table)).double())
    back = rules.process.time(-2 * rules.clock.level(index))
    assert (back - t).abs().max() < 1e-12


@pytest.mark.parametrize("scheduler", CHAINS, ids=range(len(CHAINS)))
def test_between_entries_the_clock_is_linear_in_the_level_and_has_an_inverse(
    scheduler: Any,
) -> None:
    clock = convention(scheduler).clock
    last = len(scheduler.alphas_cumprod) - 1
    index = torch.linspace(0, last, 777, dtype=torch.float64)[:-1]
    assert (clock.timestep(clock.level(index)) - index).abs().max() < 1e-6
    low, high = clock.level(torch.tensor([0.0, 1.0]).double())
    middle = clock.level(torch.tensor([0.25]).double())
    assert float(middle) == pytest.approx(float(low + (high - low) / 4), abs=1e-12)
    assert clock.timestep(torch.tensor([-torch.inf, -50.0]).double()).tolist() == [0, 0]


def test_the_rule_between_entries_is_that_of_their_euler_scheduler() -> None:
    scheduler = EulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(13)
    told = convention(scheduler).clock.timestep(scheduler.sigmas[:-1].double().log())
    assert (told - scheduler.timesteps.double()).abs().max() < 2e-4  # theirs is float32


def test_clocks_of_flows_and_of_edm() -> None:
    level = torch.tensor([-1.0, 0.0, 2.0]).double()
    for clock in (Share(1000), Quarter()):
        assert torch.allclose(clock.level(clock.timestep(level)), level, atol=1e-12)
    t = torch.tensor([0.25, 1.0]).double()
    assert torch.equal(Share(1000).timestep(torch.logit(t)), 1000 * t)


X0 = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 6)


@checks(Case(Gaussian(ZeroTerminal(torch.tensor([-0.1, -0.4, -1.1]).double())), x0=X0))
def test_conformance_of_the_chain_that_ends_in_noise(case: Any, check: Any) -> None:
    check(case)


def test_rates_and_inverse_of_the_chain_that_ends_in_noise() -> None:
    schedule = ZeroTerminal(torch.tensor([-0.1, -0.4, -1.1]).double())
    t = torch.tensor([0.1, 0.3, 0.6, 0.8, 0.95, 0.99]).double()
    h = 1e-6
    for f, rate in zip((schedule.alpha, schedule.sigma), schedule.rates(t), strict=True):
        assert (rate - (f(t + h) - f(t - h)) / (2 * h)).abs().max() < 1e-6
    assert (schedule.time(schedule.logsnr(t)) - t).abs().max() < 1e-12
    one = torch.ones((), dtype=torch.float64)
    assert float(schedule.alpha(one)) == 0 and float(schedule.sigma(one)) == 1
    assert float(schedule.logsnr(one)) == -torch.inf
    assert float(schedule.time(torch.tensor(-torch.inf).double())) == 1
    assert all(bool(rate.isfinite()) for rate in schedule.rates(one))


def test_limits() -> None:
    x = torch.tensor([[[-3.0, 0.5, 2.0]], [[-0.2, 0.1, 0.4]]])
    assert torch.equal(Clip(1.0)(x), x.clamp(-1, 1))
    scheduler = DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=0.5, sample_max_value=4)
    rules = convention(scheduler)
    assert rules.limit == Quantile(0.5, 4)
    assert torch.equal(rules.limit(x), scheduler._threshold_sample(x[..., None])[..., 0])
    assert convention(DDIMScheduler(clip_sample=False)).limit is None


def test_options_without_a_process_are_named() -> None:
    with pytest.raises(Unsupported, match="invert_sigmas"):
        convention(FlowMatchEulerDiscreteScheduler(invert_sigmas=True))
    with pytest.raises(Unsupported, match="use_flow_sigmas with prediction_type 'epsilon'"):
        convention(DPMSolverMultistepScheduler(use_flow_sigmas=True))
    with pytest.raises(ValueError, match="needs use_flow_sigmas=True"):
        convention(DPMSolverMultistepScheduler(prediction_type="flow_prediction"))
    assert isinstance(convention(DDPMScheduler()).clock, Indices)
