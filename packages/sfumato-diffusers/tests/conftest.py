"""Small networks and pipelines of diffusers with random weights, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)


def seeded(make: Callable[[], Any]) -> Any:
    """What `make` builds, its weights always the same, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def make_unet(channels: int = 1, **options: Any) -> UNet2DModel:
    """8 x 8, 40 thousand weights."""
    return seeded(
        lambda: UNet2DModel(
            sample_size=8,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            **options,
        )
    )


def make_dit() -> DiTTransformer2DModel:
    """4 x 8 x 8, three classes, with a learned variance that samplers leave out."""
    return seeded(
        lambda: DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=3,
        )
    )


def make_autoencoder(**options: Any) -> AutoencoderKL:
    """From 3 x 16 x 16 to 4 x 8 x 8."""
    return seeded(
        lambda: AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=16,
            **options,
        )
    )


@pytest.fixture(scope="session")
def unet() -> Callable[..., UNet2DModel]:
    """Makes `UNet2DModel`."""
    return make_unet


@pytest.fixture(scope="session")
def dit() -> Callable[[], DiTTransformer2DModel]:
    """Makes `DiTTransformer2DModel`."""
    return make_dit


@pytest.fixture(scope="session")
def autoencoder() -> Callable[..., AutoencoderKL]:
    """Makes `AutoencoderKL`."""
    return make_autoencoder


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer of single letters."""
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(97, 123)]
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)


@pytest.fixture(scope="session")
def stable(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionPipeline:
    """Stable Diffusion in miniature: text encoder, conditional U-Net, autoencoder."""
    from transformers import CLIPTextConfig, CLIPTextModel

    words = tokenizer(tmp_path_factory.mktemp("tokenizer"))
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    net = seeded(
        lambda: UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
    pipe = StableDiffusionPipeline(
        vae=make_autoencoder(),
        text_encoder=seeded(lambda: CLIPTextModel(text)),
        tokenizer=words,
        unet=net,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
