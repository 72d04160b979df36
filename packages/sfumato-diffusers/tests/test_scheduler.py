"""Our samplers as schedulers of diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from sfumato import Ancestral, Can, Frame, InputError, Unsupported, run
from sfumato_diffusers import SfumatoScheduler, from_model
from sfumato_diffusers.walking import forgets
from sfumato_methods import grids
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler, Heun

SAMPLERS = [DDIM(), DPMSolverPP(), Euler(), Heun(), Ancestral(), DDIM(0.5)]
BASES = [
    DDIMScheduler(clip_sample=False, prediction_type="v_prediction"),
    DPMSolverMultistepScheduler(use_karras_sigmas=True, prediction_type="v_prediction"),
    FlowMatchEulerDiscreteScheduler(shift=2.0),
    EDMEulerScheduler(),
]


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=generator(1))


def loop(net: Any, scheduler: Any, x: torch.Tensor, begin: int = 0, **options: Any) -> torch.Tensor:
    """What a pipeline does once timesteps are set."""
    with torch.inference_mode():
        for t in scheduler.timesteps[begin:]:
            output = net(scheduler.scale_model_input(x, t), t).sample
            x = scheduler.step(output, t, x, **options).prev_sample
    return x


@pytest.mark.parametrize("base", BASES, ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("begin", [0, 3])
def test_a_loop_of_steps_is_our_driver(unet: Any, base: Any, sampler: Any, begin: int) -> None:
    """The same states from any first step, whatever the number of calls per step."""
    net, model = unet(), from_model(unet(), base)
    scheduler = SfumatoScheduler.from_scheduler(base, sampler)
    scheduler.set_timesteps(6)
    assert len(scheduler.timesteps) in (6 * scheduler.order, 6 * scheduler.order - 1)
    grid = model.grid(model.process, 6)[begin:]
    scheduler.set_begin_index(begin * scheduler.order)
    x = noise() * scheduler.init_noise_sigma
    found = loop(net, scheduler, x, begin * scheduler.order, generator=generator())
    with torch.inference_mode():
        for frame in run(sampler, model.process, model.denoiser, x, grid, generator()):
            expected = frame.after
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("sampler", [DPMSolverPP(), Heun(), Ancestral()], ids=repr)
def test_reuse_is_as_fresh(unet: Any, sampler: Any) -> None:
    """Another batch size after a finished, and after an abandoned trajectory.

    The multistep schedulers of diffusers fail at this: they keep outputs of the last batch.
    """
    net, base = unet(), BASES[0]
    fresh = SfumatoScheduler.from_scheduler(base, sampler)
    fresh.set_timesteps(5)
    expected = loop(net, fresh, noise(3), generator=generator())
    used = SfumatoScheduler.from_scheduler(base, sampler)
    used.set_timesteps(7)
    loop(net, used, noise(2), generator=generator())
    used.set_timesteps(4)
    with torch.no_grad():
        used.step(net(noise(1), used.timesteps[0]).sample, used.timesteps[0], noise(1))
    used.set_timesteps(5)
    assert torch.equal(loop(net, used, noise(3), generator=generator()), expected)


def test_a_list_of_generators_frees_items_from_their_batch(unet: Any) -> None:
    net = unet()
    scheduler = SfumatoScheduler.from_scheduler(BASES[0], Ancestral())

    def draw(items: slice) -> torch.Tensor:
        scheduler.set_timesteps(5)
        each = [generator(seed) for seed in range(3)][items]
        return loop(net, scheduler, noise(3)[items], generator=each)

    together = draw(slice(None))
    for i in range(3):
        assert (draw(slice(i, i + 1)) - together[i : i + 1]).abs().max() < 1e-5


@pytest.mark.parametrize("pipeline", [DDPMPipeline, DDIMPipeline])
def test_pixel_pipelines_take_it(unet: Any, pipeline: Any) -> None:
    scheduler = DDIMScheduler()
    pipe = pipeline(unet(), scheduler)
    pipe.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 8, "output_type": "pt", "batch_size": 2}
    if pipeline is DDIMPipeline:
        options["use_clipped_model_output"] = True
    theirs = pipe(generator=generator(), **options).images
    pipe.scheduler = SfumatoScheduler.from_scheduler(scheduler, DDIM())
    ours = pipe(generator=generator(), **options).images
    if pipeline is DDIMPipeline:
        assert abs(torch.as_tensor(ours) - torch.as_tensor(theirs)).max() < 1e-5
    with pytest.raises(Unsupported, match=r"SfumatoScheduler\(DDIM\(eta=0.3\)\)"):
        scheduler = pipe.scheduler
        scheduler.set_timesteps(2)
        scheduler.step(noise(), scheduler.timesteps[0], noise(), eta=0.3)


def test_dit_pipeline_takes_it(dit: Any, autoencoder: Any) -> None:
    scheduler = DPMSolverMultistepScheduler(prediction_type="v_prediction")
    pipe = DiTPipeline(dit(), autoencoder(), scheduler, {0: "cat", 1: "dog", 2: "owl"})
    pipe.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"guidance_scale": 1.0, "num_inference_steps": 6, "output_type": "pt"}
    theirs = pipe([0, 2], generator=generator(), **options).images
    pipe.scheduler = SfumatoScheduler.from_scheduler(scheduler, DPMSolverPP())
    assert (pipe([0, 2], generator=generator(), **options).images - theirs).abs().max() < 1e-5


def test_a_stochastic_sampler_equals_theirs_draw_by_draw(unet: Any) -> None:
    base = DDPMScheduler()
    pipe = DDPMPipeline(unet(), base)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(2, generator(), 12, output_type="pt").images
    pipe.scheduler = SfumatoScheduler.from_scheduler(base, "ancestral")
    ours = pipe(2, generator(), 12, output_type="pt").images
    assert abs(torch.as_tensor(ours) - torch.as_tensor(theirs)).max() < 1e-5


def test_order_and_timesteps_are_those_of_their_heun() -> None:
    theirs = HeunDiscreteScheduler()
    ours = SfumatoScheduler.from_scheduler(theirs, Heun())
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    assert ours.order == theirs.order == 2
    assert torch.equal(ours.timesteps.float(), theirs.timesteps.float())


@pytest.mark.parametrize(
    "base",
    [DDIMScheduler(), FlowMatchEulerDiscreteScheduler(), DDPMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction")],
    ids=lambda b: type(b).__name__,
)  # fmt: skip
def test_noise_is_added_as_theirs_is(base: Any) -> None:
    ours = SfumatoScheduler.from_scheduler(base)
    x0, eps = noise(), torch.randn(2, 1, 8, 8, generator=generator(9))
    flow = isinstance(base, FlowMatchEulerDiscreteScheduler)
    told = torch.tensor([999.0, 40.0]) if flow else torch.tensor([999, 40])
    theirs = base.scale_noise(x0, told, eps) if flow else base.add_noise(x0, eps, told)
    found = ours.scale_noise(x0, told, eps) if flow else ours.add_noise(x0, eps, told)
    assert (found - theirs).abs().max() < 1e-6


def test_scales_of_edm_are_theirs() -> None:
    theirs = EDMDPMSolverMultistepScheduler()
    ours = SfumatoScheduler.from_scheduler(theirs)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(5)
    assert ours.init_noise_sigma == pytest.approx(
        theirs.init_noise_sigma, rel=1e-6
    )  # theirs is of sigma_max, ours of its float32
    assert (ours.timesteps - theirs.timesteps).abs().max() < 1e-6
    t = theirs.timesteps[0]
    scaled = ours.scale_model_input(noise(), t)
    assert (scaled - theirs.scale_model_input(noise(), t)).abs().max() < 1e-7


def test_timesteps_and_sigmas_of_ones_own() -> None:
    scheduler = SfumatoScheduler.from_scheduler(DPMSolverMultistepScheduler())
    scheduler.set_timesteps(timesteps=[900, 500, 100])
    assert scheduler.timesteps.tolist() == [900, 500, 100]
    told = scheduler.timesteps
    levels = scheduler._rules.convention.clock.level(told.double()).exp()
    scheduler.set_timesteps(sigmas=levels)
    assert scheduler.timesteps.tolist() == [900, 500, 100]
    with_grid = SfumatoScheduler(DPMSolverPP(), grid="logsnr")
    with_grid.set_timesteps(sigmas=levels)
    assert with_grid.num_inference_steps == 3
    with pytest.raises(InputError, match="at least 1 step, but 0 were asked for"):
        scheduler.set_timesteps(0)
    edm = SfumatoScheduler.from_scheduler(EDMEulerScheduler(final_sigmas_type="sigma_min"), DDIM())
    edm.set_timesteps(5)  # their last step goes from sigma_min to sigma_min
    assert len(edm.timesteps) == 4
    edm.set_timesteps(timesteps=[1.0, 0.0])
    assert edm.timesteps.tolist() == [1.0]
    for wrong in ({}, {"timesteps": [1], "sigmas": [1.0]}):
        with pytest.raises(InputError, match="give the number of steps, or timesteps, or sigmas"):
            scheduler.set_timesteps(**wrong)


def test_configuration_survives_saving_and_their_idiom(tmp_path: Any) -> None:
    base = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
    made = SfumatoScheduler.from_scheduler(base, DDIM(0.5), grid=grids.karras)
    made.save_pretrained(tmp_path)
    for other in (
        SfumatoScheduler.from_pretrained(tmp_path),
        SfumatoScheduler.from_config(made.config),
        SfumatoScheduler.from_config(base.config, sampler=DDIM(0.5), grid="karras"),
    ):
        assert other.sampler == DDIM(0.5)
        assert other.grid is grids.karras
        assert other.config.base == "DDIMScheduler"
        made.set_timesteps(5)
        other.set_timesteps(5)
        assert torch.equal(other.timesteps, made.timesteps)
    assert SfumatoScheduler.from_config(made.config, sampler="heun").sampler == Heun()
    back = DDIMScheduler.from_config(made.config)
    assert torch.equal(back.alphas_cumprod, base.alphas_cumprod)


def test_defaults_of_the_first_scheduler_are_kept() -> None:
    """Theirs replaces them: Heun has beta_start 0.00085, Euler made from it 0.0001."""
    heun = HeunDiscreteScheduler()
    again = SfumatoScheduler.from_config(heun.config)
    assert torch.equal(again.theirs.alphas_cumprod, heun.alphas_cumprod)


@dataclass(frozen=True)
class Mindful:
    """Heun, whose steps also lean on the first posterior of the step before."""

    needs: ClassVar[Can] = Can.VELOCITY
    deterministic: ClassVar[bool] = True

    def trajectory(self, process: Any, denoiser: Any, x: Any, grid: Any, generator: Any) -> Any:
        before = None
        for t, s in zip(grid, grid[1:], strict=False):
            q = denoiser(x, t)
            guess = 0.5 * (x + q.mean)
            mean = 0.5 * (q.mean + denoiser(guess, s.clamp_min(0.01)).mean)
            after = mean if before is None else 0.9 * mean + 0.1 * before
            before = q.mean
            x = yield Frame(t, s, x, q, after)


@pytest.mark.parametrize("sampler", [Heun(), Mindful()], ids=lambda s: type(s).__name__)
def test_several_calls_a_step_with_and_without_memory(unet: Any, sampler: Any) -> None:
    base = DDIMScheduler(clip_sample=False, prediction_type="v_prediction")
    net, model = unet(), from_model(unet(), base)
    assert forgets(sampler, model.process) == (sampler == Heun())
    scheduler = SfumatoScheduler.from_scheduler(base, sampler, grid=grids.uniform)
    scheduler.set_timesteps(5)
    found = loop(net, scheduler, noise())
    with torch.inference_mode():
        grid = grids.uniform(model.process, 5)
        for frame in run(sampler, model.process, model.denoiser, noise(), grid, generator()):
            expected = frame.after
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


class Restless:
    """Draws, and calls the network twice a step."""

    needs: ClassVar[Can] = Can.AFFINE
    deterministic: ClassVar[bool] = False

    def trajectory(self, process: Any, denoiser: Any, x: Any, grid: Any, generator: Any) -> Any:
        for t, s in zip(grid, grid[1:], strict=False):
            denoiser(x, t)
            q = denoiser(x, t)
            x = yield Frame(t, s, x, q, q.mean)


@pytest.mark.parametrize("name", ["dopri5", "dpmsolver-adaptive"])
def test_a_sampler_that_chooses_its_steps_is_refused(name):
    with pytest.raises(Unsupported, match="chooses its steps by what the network says"):
        SfumatoScheduler(name)


def test_errors_are_one_sentence(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="'FooScheduler' is not a scheduler"):
        SfumatoScheduler(base="FooScheduler")
    with pytest.raises(InputError, match="does not say of which scheduler it is"):
        SfumatoScheduler.from_config({"beta_start": 0.1})
    with pytest.raises(InputError, match="the sampler ddim does not take"):
        SfumatoScheduler("ddim", options={"order": 2})
    with pytest.raises(InputError, match="no sampler"):
        SfumatoScheduler("dpmpp-9m")
    with pytest.raises(Unsupported, match="draws noise and calls the network several times a step"):
        SfumatoScheduler(Restless())
    scheduler = SfumatoScheduler(Heun())
    with pytest.raises(InputError, match="call set_timesteps before the first step"):
        scheduler.step(noise(), 10, noise())
    scheduler.set_timesteps(4)
    with pytest.raises(InputError, match="1234 is no entry"):
        scheduler.step(noise(), 1234, noise())
    scheduler.set_begin_index(1)
    with pytest.raises(InputError, match="begin at a multiple of 2"):
        scheduler.step(noise(), scheduler.timesteps[1], noise())
    scheduler.set_timesteps(1)
    scheduler.step(noise(), scheduler.timesteps[0], noise())
    with pytest.raises(InputError, match="the last step is done"):
        scheduler.step(noise(), scheduler.timesteps[0], noise())
    with pytest.raises(Unsupported, match="saved by the names of its parts"):
        SfumatoScheduler(grid=lambda process, steps: grids.uniform(process, steps)).save_pretrained(
            tmp_path
        )
    assert not list(tmp_path.iterdir())
