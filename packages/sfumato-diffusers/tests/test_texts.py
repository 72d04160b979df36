"""Pipelines with several text encoders: their prompts are ours, and their samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from sfumato import run
from sfumato_diffusers import SfumatoScheduler, from_pipeline
from sfumato_methods.solvers import Euler


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def encoder(words: Any, **options: Any) -> Any:
    """A CLIP text encoder with a projection."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=2, max_position_embeddings=8, projection_dim=16,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, **options,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CLIPTextModelWithProjection(config).eval()


def walk(model: Any, prompt: Any, steps: int) -> torch.Tensor:
    x = noise()
    with torch.inference_mode():
        grid, denoiser = model.grid(model.process, steps), model.denoiser.given(prompt=prompt)
        for frame in run(model.sampler, model.process, denoiser, x, grid, torch.Generator()):
            x = frame.after
    return x


@pytest.fixture
def large(stable: Any) -> StableDiffusionXLPipeline:
    """Stable Diffusion XL in miniature."""
    words = stable.tokenizer
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1,
            block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
            addition_embed_type="text_time", addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 16,
        ).eval()  # fmt: skip
    pipe = StableDiffusionXLPipeline(
        vae=stable.vae, unet=net, tokenizer=words, tokenizer_2=words,
        text_encoder=encoder(words), text_encoder_2=encoder(words, hidden_act="gelu"),
        scheduler=DDIMScheduler(clip_sample=False, prediction_type="v_prediction"),
        add_watermarker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_xl_pipeline(large: StableDiffusionXLPipeline) -> None:
    prompt = ["a cat", "dog"]
    theirs = large(
        prompt, latents=noise(), guidance_scale=1.0, num_inference_steps=6, output_type="latent"
    ).images
    model = from_pipeline(large)
    assert (walk(model, prompt, 6) - theirs).abs().max() < 1e-5 * theirs.abs().max()
    context = model.denoiser.given()._context
    assert not context["encoder_hidden_states"].any() and not context["text_embeds"].any()


def test_the_flow_pipeline_and_our_scheduler_in_it(stable: Any) -> None:
    words = stable.tokenizer
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=32, caption_projection_dim=16,
            pooled_projection_dim=32, out_channels=4, pos_embed_max_size=8,
        ).eval()  # fmt: skip
        for weight in net.parameters():  # some heads start at zero
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
    vae = type(stable.vae).from_config({**stable.vae.config, "shift_factor": 0.1}).eval()
    pipe = StableDiffusion3Pipeline(
        transformer=net, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae,
        text_encoder=encoder(words), tokenizer=words, text_encoder_2=encoder(words),
        tokenizer_2=words, text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"guidance_scale": 1.0, "num_inference_steps": 6}
    options |= {"latents": noise(), "height": 16, "width": 16, "output_type": "latent"}
    theirs = pipe(["a cat", "dog"], **options).images
    model = from_pipeline(pipe)
    assert (walk(model, ["a cat", "dog"], 6) - theirs).abs().max() < 1e-5 * theirs.abs().max()
    pipe.scheduler = SfumatoScheduler.from_scheduler(pipe.scheduler, Euler())
    ours = pipe(["a cat", "dog"], **options).images
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
