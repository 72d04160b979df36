"""Our samplers on their wrapped networks walk the trajectories of their own schedulers.

The bar is 1e-5 of the largest value of the sample, in float32. Where a scheduler of theirs does
something else, a test shows what, and that nothing but this is the difference.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from sfumato import Ancestral, run, sample
from sfumato_diffusers import DiffusersDenoiser, from_model
from sfumato_methods.gaussian import EDM, Gaussian
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler, Heun

BAR = 1e-5


def noise(dtype: torch.dtype = torch.float32, channels: int = 1) -> torch.Tensor:
    return torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def theirs(net: Any, scheduler: Any, x: torch.Tensor, steps: int, **options: Any) -> torch.Tensor:
    """The loop of a pipeline, from unit noise."""
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    flow = type(scheduler).__name__.startswith("FlowMatch")  # these have no scale of any kind
    x = x if flow else x * scheduler.init_noise_sigma
    with torch.inference_mode():
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t) if not flow else x
            output = net(scaled, t, return_dict=False)[0]
            x = scheduler.step(output, t, x, **options).prev_sample
    return x


def ours(
    net: Any, scheduler: Any, x: torch.Tensor, steps: int, sampler: Any, denoiser: Any = None
) -> torch.Tensor:
    model = from_model(net, scheduler)
    denoiser = denoiser or model.denoiser
    grid = model.grid(denoiser.process, steps)
    with torch.inference_mode():
        for frame in run(sampler, denoiser.process, denoiser, x, grid, generator()):
            x = frame.after
    return x


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    assert bool(b.isfinite().all())
    return float((a - b).abs().max() / b.abs().max())


PLAIN = {"clip_sample": False}
SAME = {
    # name: scheduler, our sampler, what the first state is scaled with (None: nothing), steps
    "ddpm": (DDPMScheduler(**PLAIN), Ancestral(), 10),
    "ddpm-clipped": (DDPMScheduler(), Ancestral(), 10),
    "ddpm-v": (DDPMScheduler(prediction_type="v_prediction", **PLAIN), Ancestral(), 10),
    "ddpm-x0-cosine": (
        DDPMScheduler(prediction_type="sample", beta_schedule="squaredcos_cap_v2"), Ancestral(), 10,
    ),
    "ddpm-trained-betas": (
        DDPMScheduler(trained_betas=[0.01 * i for i in range(1, 41)], num_train_timesteps=40,
                      **PLAIN), Ancestral(), 10,
    ),
    "ddpm-thresholding": (
        DDPMScheduler(thresholding=True, sample_max_value=2.0, prediction_type="v_prediction"),
        Ancestral(), 10,
    ),
    "ddim": (DDIMScheduler(**PLAIN), DDIM(), 10),
    "ddim-offset": (
        DDIMScheduler(steps_offset=1, set_alpha_to_one=False, beta_schedule="scaled_linear",
                      **PLAIN), DDIM(), 10,
    ),
    "ddim-trailing-zero-snr": (
        DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction",
                      timestep_spacing="trailing", **PLAIN), DDIM(), 10,
    ),
    "dpmpp": (DPMSolverMultistepScheduler(), DPMSolverPP(), 10),
    "dpmpp-many": (DPMSolverMultistepScheduler(), DPMSolverPP(), 25),
    "dpmpp-v": (DPMSolverMultistepScheduler(prediction_type="v_prediction"), DPMSolverPP(), 10),
    "dpmpp-sigma-min": (
        DPMSolverMultistepScheduler(final_sigmas_type="sigma_min", lower_order_final=False),
        DPMSolverPP(), 20,
    ),
    "dpmpp-order-1": (DPMSolverMultistepScheduler(solver_order=1), DDIM(), 10),
    "flow": (FlowMatchEulerDiscreteScheduler(), Euler(), 10),
    "flow-shift": (FlowMatchEulerDiscreteScheduler(shift=3.0), Euler(), 10),
    "flow-terminal": (FlowMatchEulerDiscreteScheduler(shift_terminal=0.1), Euler(), 10),
    "flow-heun": (FlowMatchHeunDiscreteScheduler(), Heun(), 10),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_trajectories_agree(name: str, unet: Any) -> None:
    scheduler, sampler, steps = SAME[name]
    draws = isinstance(sampler, Ancestral)
    reference = theirs(
        unet(), scheduler, noise(), steps, **({"generator": generator()} if draws else {})
    )
    assert error(ours(unet(), scheduler, noise(), steps, sampler), reference) < BAR


@pytest.mark.parametrize(
    ("scheduler", "sampler"),
    [
        (EulerDiscreteScheduler(), DDIM()),
        (EulerDiscreteScheduler(use_karras_sigmas=True), DDIM()),
        (EulerDiscreteScheduler(use_exponential_sigmas=True), DDIM()),
        (EulerDiscreteScheduler(final_sigmas_type="sigma_min"), DDIM()),
        (
            EulerDiscreteScheduler(
                timestep_type="continuous", prediction_type="v_prediction",
                use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
            ),
            DDIM(),
        ),
        (EulerAncestralDiscreteScheduler(), Ancestral()),
        (EDMEulerScheduler(), DDIM()),
        (EDMEulerScheduler(prediction_type="v_prediction", sigma_data=1.0), DDIM()),
        (EDMEulerScheduler(sigma_schedule="exponential", sigma_data=0.3), DDIM()),
        (EDMDPMSolverMultistepScheduler(), DPMSolverPP()),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_trajectories_in_sigma_agree(scheduler: Any, sampler: Any, unet: Any) -> None:
    """Their state is x/alpha: the same trajectory in other coordinates, from the same first one."""
    model = from_model(unet(), scheduler)
    grid = model.grid(model.process, 10)
    reference = copy.deepcopy(scheduler)
    reference.set_timesteps(10)
    first = noise() * float(reference.init_noise_sigma) * float(model.process.alpha(grid[0]))
    draws = isinstance(sampler, Ancestral)
    result = theirs(unet(), scheduler, noise(), 10, **({"generator": generator()} if draws else {}))
    end = float(model.process.alpha(grid[-1]))
    assert error(ours(unet(), scheduler, first, 10, sampler) / end, result) < BAR


def test_heun_in_sigma_agrees_under_another_process(unet: Any) -> None:
    """The wrapped network is sampled under sigma as time, though its chain is not in it."""
    scheduler = HeunDiscreteScheduler()
    model = from_model(unet(), scheduler)
    top = float(((1 - scheduler.alphas_cumprod[-1]) / scheduler.alphas_cumprod[-1]).sqrt())
    denoiser = DiffusersDenoiser(model.denoiser.net, model.denoiser.convention, Gaussian(EDM(top)))
    found = ours(unet(), scheduler, noise() * top, 10, Heun(), denoiser)
    assert error(found, theirs(unet(), scheduler, noise(), 10)) < BAR


def test_ddim_with_noise_agrees(unet: Any) -> None:
    scheduler = DDIMScheduler(**PLAIN)
    reference = theirs(unet(), scheduler, noise(), 10, eta=0.7, generator=generator())
    assert error(ours(unet(), scheduler, noise(), 10, DDIM(0.7)), reference) < BAR


def test_dit_with_labels_and_learned_variance_agrees(dit: Any) -> None:
    scheduler, labels = DDIMScheduler(**PLAIN), torch.tensor([0, 2])

    def net(x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        output = dit()(x, t.expand(len(x)), labels).sample
        return (output[:, :4],)

    model = from_model(dit(), scheduler)
    found = ours(
        dit(), scheduler, noise(channels=4), 10, DDIM(), model.denoiser.given(label=labels)
    )
    assert error(found, theirs(net, scheduler, noise(channels=4), 10)) < BAR
    with torch.no_grad():
        t = torch.tensor(0.5).double()
        null = model.denoiser.given(label=[3, 3])(noise(channels=4), t).mean
        assert torch.equal(model.denoiser.given()(noise(channels=4), t).mean, null)


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
def test_what_is_left_is_their_single_precision(kind: Any, unet: Any) -> None:
    """With their table in float64 both agree to 1e-10, over every step of a chain."""
    scheduler = kind(num_train_timesteps=50, clip_sample=False)
    sampler, options = DDIM(), {}
    if kind is DDPMScheduler:
        sampler, options = Ancestral(), {"generator": generator()}
    reference = theirs(unet(), scheduler, noise(), 50, **options)
    single = error(ours(unet(), scheduler, noise(), 50, sampler), reference)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    one = "one" if kind is DDPMScheduler else "final_alpha_cumprod"
    setattr(scheduler, one, torch.ones((), dtype=torch.float64))
    if options:
        options = {"generator": generator()}
    net, x = unet().double(), noise(torch.float64)
    reference = theirs(net, scheduler, x, 50, **options)
    assert error(ours(net, scheduler, x, 50, sampler), reference) < 1e-10
    assert 1e-7 < single < 1e-4


# What differs, and why.


def test_theirs_ddim_clips_the_data_but_not_the_noise(unet: Any) -> None:
    """Clipped data with the noise of the unclipped: two statements about one state disagree."""
    scheduler = DDIMScheduler(clip_sample=True)
    found = ours(unet(), scheduler, noise(), 10, DDIM())
    agreeing = theirs(unet(), scheduler, noise(), 10, use_clipped_model_output=True)
    assert error(found, agreeing) < BAR
    assert error(found, theirs(unet(), scheduler, noise(), 10)) > 100 * BAR


def test_theirs_begins_with_unit_noise_which_is_not_quite_the_law_at_the_last_entry(
    unet: Any,
) -> None:
    """The last state of a chain has sigma = 0.99998, and no data; `sample` draws that."""
    scheduler = DDIMScheduler(**PLAIN, timestep_spacing="trailing")
    net = unet()
    model = from_model(net, scheduler)
    found = sample(
        model.process,
        model.denoiser,
        torch.zeros(2, 1, 8, 8),
        sampler=DDIM(),
        grid=model.grid(model.process, 10),
        generator=torch.Generator().manual_seed(1),
    )
    last = float(model.process.sigma(torch.ones((), dtype=torch.float64)))
    assert 1e-5 < 1 - last < 1e-4
    assert error(found, theirs(net, scheduler, noise() * last, 10)) < BAR


def test_theirs_ddim_lands_beside_its_next_timestep_when_spaced_evenly(unet: Any) -> None:
    """ "linspace" rounds timesteps, but a step lands at t - T // N, whatever comes next."""
    scheduler = DDIMScheduler(timestep_spacing="linspace", **PLAIN)
    assert error(
        ours(unet(), scheduler, noise(), 10, DDIM()), theirs(unet(), scheduler, noise(), 10)
    ) > 10 * BAR  # fmt: skip
    scheduler.set_timesteps(10)
    gaps = -scheduler.timesteps.diff()
    assert set(gaps.tolist()) != {1000 // 10}


def test_theirs_dpmsolver_tells_the_network_another_time_than_it_steps_from(unet: Any) -> None:
    """With Karras sigmas the timestep is rounded to a whole index, and sigma is not."""
    scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    found = ours(unet(), scheduler, noise(), 10, DPMSolverPP())
    assert error(found, theirs(unet(), scheduler, noise(), 10)) > BAR
    reference = copy.deepcopy(scheduler)
    reference.set_timesteps(10)
    model = from_model(unet(), scheduler)
    told = model.denoiser.call(model.grid(model.process, 10)[:-1]).timestep
    assert torch.equal(reference.timesteps, told.round().long())
    assert (told - told.round()).abs().max() > 0.1


def test_theirs_cut_the_timestep_of_a_flow_to_an_integer(unet: Any) -> None:
    """Told the whole timestep, their multistep scheduler walks the trajectory of ours."""
    scheduler = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=2.0
    )
    model = from_model(unet(), scheduler)
    told = model.denoiser.call(model.grid(model.process, 7)[:-1]).timestep
    scheduler.set_timesteps(7)
    assert torch.equal(scheduler.timesteps, told.floor().long())
    assert (told - told.floor()).max() > 0.5
    whole = told.float().tolist()

    def net(x: torch.Tensor, t: Any, return_dict: bool) -> Any:
        return unet()(x, torch.tensor(whole.pop(0)), return_dict=False)

    found = ours(unet(), scheduler, noise(), 7, DPMSolverPP())
    assert error(found, theirs(net, scheduler, noise(), 7)) < BAR
    assert error(found, theirs(unet(), scheduler, noise(), 7)) > BAR


def test_theirs_unipc_corrects_with_the_same_call_and_is_another_method(unet: Any) -> None:
    """Its grid is read all the same, and its first-order form is DDIM."""
    scheduler = UniPCMultistepScheduler(solver_order=1, disable_corrector=list(range(10)))
    reference = theirs(unet(), scheduler, noise(), 10)
    assert error(ours(unet(), scheduler, noise(), 10, DDIM()), reference) < BAR
    corrected = theirs(unet(), UniPCMultistepScheduler(), noise(), 10)
    assert error(ours(unet(), scheduler, noise(), 10, DDIM()), corrected) > 100 * BAR


def test_pndm_has_the_grid_of_ddim(unet: Any) -> None:
    options = {"skip_prk_steps": True, "steps_offset": 1, "beta_schedule": "scaled_linear"}
    pndm = from_model(unet(), PNDMScheduler(**options))
    reference = PNDMScheduler(**options)
    reference.set_timesteps(10)
    once = torch.unique(reference.timesteps).flip(0)
    told = pndm.denoiser.call(pndm.grid(pndm.process, 10)[:-1]).timestep
    assert torch.equal(told, once.double())
