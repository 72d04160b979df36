"""A pipeline with text encoder, conditional network and autoencoder, both ways over the bridge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

from sfumato import InputError, run, sample
from sfumato_diffusers import SfumatoScheduler, from_pipeline, load
from sfumato_methods.guidance import CFG
from sfumato_methods.solvers import DDIM, DPMSolverPP, Heun


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sampling_equals_the_pipeline_with_guidance(stable: Any) -> None:
    model = from_pipeline(stable)
    start = torch.randn(2, 4, 8, 8, generator=generator())
    theirs = stable(
        ["a cat", "dog"], latents=start, guidance_scale=3.0, num_inference_steps=10,
        output_type="np",
    ).images  # fmt: skip
    denoiser = CFG(model.denoiser.given(prompt=["a cat", "dog"]), model.denoiser.given(), 3.0)
    z = start
    with torch.inference_mode():
        grid = model.grid(model.process, 10)
        for frame in run(model.sampler, model.process, denoiser, z, grid, generator()):
            z = frame.after
        ours = (model.codec.decode(z) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - theirs).max() < 1e-5
    # set_alpha_to_one=False: the chain of Stable Diffusion ends at its first entry, not at 0
    assert float(grid[-1]) == pytest.approx(1 / 1000, abs=1e-15)


def test_a_saved_pipeline_is_loaded_and_samples_alike(stable: Any, tmp_path: Any) -> None:
    stable.save_pretrained(tmp_path)
    drawn = []
    for model in (from_pipeline(stable), load(tmp_path)):
        x = sample(
            model.process, model.denoiser.given(prompt="cat"), model.blank(2, generator()),
            sampler=model.sampler, grid=model.grid(model.process, 4), generator=generator(),
            codec=model.codec,
        )  # fmt: skip
        drawn.append(x)
    assert drawn[0].shape == (2, 3, 16, 16)
    assert torch.equal(*drawn)


def test_conditions_by_prompt_and_by_tensor_agree_and_wrong_ones_are_named(stable: Any) -> None:
    denoiser = from_pipeline(stable).denoiser
    tokens = stable.encode_prompt("cat", "cpu", 1, False)[0]
    x, t = torch.randn(2, 4, 8, 8, generator=generator()), torch.tensor(0.5).double()
    with torch.no_grad():
        by_text = denoiser.given(prompt="cat")(x, t).mean
        by_tensor = denoiser.given(encoder_hidden_states=tokens)(x, t).mean
        assert torch.equal(by_text, by_tensor)
        assert not torch.allclose(by_text, denoiser.given(prompt="dog")(x, t).mean)
        assert torch.equal(denoiser.given()(x, t).mean, denoiser.given(prompt="")(x, t).mean)
        with pytest.raises(InputError, match="takes no colour; it takes prompt"):
            denoiser.given(colour="red")
        with pytest.raises(InputError, match="needs encoder_hidden_states"):
            denoiser(x, t)
        with pytest.raises(InputError, match="3 conditions were given for 2 items"):
            denoiser.given(prompt=["a", "b", "c"])(x, t)


@pytest.mark.parametrize("sampler", [DDIM(), DPMSolverPP(), Heun()], ids=lambda s: type(s).__name__)
def test_one_line_swaps_the_scheduler(stable: Any, sampler: Any) -> None:
    """The pipeline with our scheduler gives what our own driver gives."""
    model = from_pipeline(stable)
    theirs = stable.scheduler
    start = torch.randn(1, 4, 8, 8, generator=generator())
    try:
        stable.scheduler = SfumatoScheduler.from_scheduler(stable.scheduler, sampler)
        images = stable(
            "cat", latents=start, guidance_scale=3.0, num_inference_steps=5, output_type="latent"
        ).images
    finally:
        stable.scheduler = theirs
    denoiser = CFG(model.denoiser.given(prompt="cat"), model.denoiser.given(), 3.0)
    z = start
    with torch.inference_mode():
        grid = model.grid(model.process, 5)
        for frame in run(sampler, model.process, denoiser, z, grid, generator()):
            z = frame.after
    assert (z - images).abs().max() < 1e-5 * images.abs().max()


class Exact(torch.nn.Module):
    """In place of the network: always right about a picture, whatever the noise (v)."""

    def __init__(self, net: Any, process: Any, z0: torch.Tensor) -> None:
        super().__init__()
        self.config, self.dtype, self.device = net.config, net.dtype, net.device
        self.add_embedding, self.process, self.z0 = None, process, z0
        self.told: list[float] = []

    def forward(self, x: Any, timestep: Any, *args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
        self.told.append(float(timestep))
        t = ((torch.as_tensor(timestep).double() + 1) / 1000).float()
        alpha, sigma = self.process.alpha(t).float(), self.process.sigma(t).float()
        return ((alpha * x - self.z0) / sigma,)


@pytest.mark.parametrize("sampler", [DDIM(), DPMSolverPP(), Heun()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", [StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline])
def test_pipelines_that_begin_half_way(stable: Any, sampler: Any, kind: Any) -> None:
    """With an exact network the exponential samplers arrive at its picture from any begin index.

    Heun, which is not exact for it, is compared with our driver in test_scheduler.
    """
    process = from_pipeline(stable).process
    z0 = torch.randn(1, 4, 8, 8, generator=generator())
    net = Exact(stable.unet, process, z0)
    scheduler = SfumatoScheduler.from_scheduler(stable.scheduler, sampler)
    pipe = kind(**{**stable.components, "unet": stable.unet, "scheduler": scheduler})
    pipe.set_progress_bar_config(disable=True)
    pipe.unet = net
    picture = torch.rand(1, 3, 16, 16, generator=generator())
    options: dict[str, Any] = {"image": picture, "strength": 0.5, "guidance_scale": 1.0}
    if kind is StableDiffusionInpaintPipeline:
        options |= {"mask_image": torch.ones(1, 1, 16, 16), "height": 16, "width": 16}
    found = pipe(
        "cat", num_inference_steps=8, generator=generator(), output_type="latent", **options
    ).images
    assert len(net.told) == 4 * scheduler.order
    assert max(net.told) < 501
    if isinstance(sampler, Heun):
        return
    # the chain ends at its first entry, where alpha and sigma of the noise are left
    end = torch.tensor(1 / 1000).double()
    law = process.marginal(z0, end)
    distance = (found - law.mean).abs().max() / float(process.sigma(end))
    assert distance < 6, "further from the picture than the noise that is left"


def test_inpainting_keeps_what_is_outside_the_mask(stable: Any) -> None:
    scheduler = SfumatoScheduler.from_scheduler(stable.scheduler, DPMSolverPP())
    pipe = StableDiffusionInpaintPipeline(**{**stable.components, "scheduler": scheduler})
    pipe.set_progress_bar_config(disable=True)
    picture = torch.rand(1, 3, 16, 16, generator=generator())
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    found = pipe(
        "cat", image=picture, mask_image=mask, strength=0.75, num_inference_steps=4, height=16,
        width=16, generator=generator(), output_type="latent",
    ).images  # fmt: skip
    z = stable.vae.encode(2 * picture - 1).latent_dist
    kept = found[..., :4] / stable.vae.config.scaling_factor
    assert ((kept - z.mean[..., :4]) / z.std[..., :4]).abs().max() < 6
