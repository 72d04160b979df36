"""Autoencoders of diffusers as codecs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny, VQModel

from sfumato import InputError, Unsupported
from sfumato_diffusers import Autoencoder


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images() -> torch.Tensor:
    return 2 * torch.rand(2, 3, 16, 16, generator=generator(1)) - 1


def test_latents_are_scaled_and_shifted_as_pipelines_do(autoencoder: Any) -> None:
    vae = autoencoder(scaling_factor=0.5, shift_factor=0.25)
    codec = Autoencoder(vae)
    with torch.no_grad():
        z = codec.encode(images(), generator())
        law = vae.encode(images()).latent_dist
        drawn = law.mean + law.std * torch.randn(law.mean.shape, generator=generator())
        assert torch.allclose(z, (drawn - 0.25) * 0.5, atol=1e-6)
        assert torch.equal(codec.decode(z), vae.decode(z / 0.5 + 0.25).sample)
    assert z.shape == codec.layout(images()).shape == (2, 4, 8, 8)
    assert codec.exact is None


def test_latents_are_standardised_by_channel_where_the_configuration_says_so(
    autoencoder: Any,
) -> None:
    vae = autoencoder(
        scaling_factor=0.5, latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0]
    )
    codec = Autoencoder(vae)
    z = torch.randn(1, 4, 8, 8, generator=generator())
    mean, std = (torch.tensor(v).view(1, 4, 1, 1) for v in (vae.config.latents_mean,
                                                            vae.config.latents_std))  # fmt: skip
    with torch.no_grad():
        expected = vae.decode(z * std / 0.5 + mean).sample
        assert torch.allclose(codec.decode(z), expected, atol=1e-5)


def test_the_draw_is_of_the_generator(autoencoder: Any) -> None:
    codec = Autoencoder(autoencoder())
    with torch.no_grad():
        first, again, other = (codec.encode(images(), generator(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_quantised_and_a_tiny_autoencoder() -> None:
    options = {"block_out_channels": (8, 8), "latent_channels": 4}
    vq = VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        num_vq_embeddings=16,
        scaling_factor=0.5,
        **options,
    ).eval()
    codec = Autoencoder(vq)
    with torch.no_grad():
        z = codec.encode(images(), generator())
        assert torch.equal(z, vq.encode(images()).latents * 0.5)
        assert torch.equal(codec.decode(z), vq.decode(z / 0.5).sample)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=4,
    ).eval()  # fmt: skip
    codec = Autoencoder(tiny)
    with torch.no_grad():
        z = codec.encode(images(), generator())
    assert z.shape == codec.layout(images()).shape == (2, 4, 8, 8)


def test_a_latent_is_known_where_all_its_pixels_are(autoencoder: Any) -> None:
    known = torch.ones(1, 3, 16, 16, dtype=torch.bool)
    known[..., :, 9:] = False
    known[0, 1, 0, 0] = False
    mask = Autoencoder(autoencoder()).mask(known)
    assert mask.shape == (1, 1, 8, 8)
    assert not mask[0, 0, 0, 0]
    assert mask[0, 0, 0, 1:4].all() and mask[0, 0, 1:, :4].all()
    assert not mask[0, 0, :, 4:].any()


def test_errors_are_one_sentence(autoencoder: Any) -> None:
    with pytest.raises(InputError, match="multiples of 2, but these are 15 x 16"):
        Autoencoder(autoencoder()).layout(torch.zeros(1, 3, 15, 16))
    with pytest.raises(Unsupported, match="Linear is not an autoencoder"):
        Autoencoder(torch.nn.Linear(1, 1))
