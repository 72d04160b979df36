"""Each family of networks is called as its own pipeline calls it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import Tensor, nn

from sfumato import InputError, Unsupported, sample
from sfumato_diffusers import Adapter, from_model
from sfumato_diffusers.adapters import adapt

HALF = torch.tensor(0.5, dtype=torch.float64)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def made(make: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make().eval()
        for weight in net.parameters():  # some heads start at zero
            if not weight.any():
                nn.init.normal_(weight, std=0.1)
    return net


def test_sd3() -> None:
    net = made(
        lambda: SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16,
            pooled_projection_dim=12, out_channels=4, pos_embed_max_size=8,
        )
    )  # fmt: skip
    model = from_model(net, FlowMatchEulerDiscreteScheduler(shift=3.0))
    x, tokens, pooled = noise(2, 4, 8, 8), noise(1, 5, 16), noise(2, 12)
    denoiser = model.denoiser.given(encoder_hidden_states=tokens, pooled_projections=pooled)
    with torch.no_grad():
        found = denoiser(x, HALF).mean
        output = net(x, tokens.expand(2, -1, -1), pooled, torch.full((2,), 500.0)).sample
    assert output.abs().max() > 1e-3
    assert (found - (x - 0.5 * output)).abs().max() < 1e-6


def test_flux_is_packed_as_its_pipeline_packs() -> None:
    net = made(
        lambda: FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=12,
            guidance_embeds=True, axes_dims_rope=(2, 2, 4),
        )
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    model = from_model(net, scheduler, size=(8, 12))
    x, tokens, pooled = noise(2, 4, 8, 12), noise(1, 5, 16), noise(1, 12)
    denoiser = model.denoiser.given(encoder_hidden_states=tokens, pooled_projections=pooled)
    packed = FluxPipeline._pack_latents(x, 2, 4, 8, 12)
    places = FluxPipeline._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32)
    with torch.no_grad():
        found = denoiser(x, HALF).mean
        output = net(
            packed, tokens.expand(2, -1, -1), pooled.expand(2, -1), torch.full((2,), 0.5), places,
            torch.zeros(5, 3), torch.full((2,), 3.5),
        ).sample  # fmt: skip
    output = FluxPipeline._unpack_latents(output, 8 * 8, 12 * 8, 8)
    assert output.abs().max() > 1e-3
    assert (found - (x - 0.5 * output)).abs().max() < 1e-5
    # the times are shifted by the 4 x 6 tokens, on the line through (256, 0.5) and (4096, 1.15)
    scheduler.set_timesteps(5, mu=0.5 + 0.65 * (24 - 256) / (4096 - 256))
    grid = model.grid(model.process, 5)
    assert (grid - scheduler.sigmas.double()).abs().max() < 1e-7


def test_pixart_with_mask_and_learned_variance() -> None:
    net = made(
        lambda: PixArtTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8,
            num_layers=1, cross_attention_dim=16, sample_size=8, patch_size=2,
            caption_channels=12, use_additional_conditions=False,
        )
    )  # fmt: skip
    scheduler = DDPMScheduler(prediction_type="sample", clip_sample=False)
    model = from_model(net, scheduler)
    x, tokens, mask = noise(2, 4, 8, 8), noise(1, 5, 12), torch.tensor([[1, 1, 1, 0, 0]])
    denoiser = model.denoiser.given(encoder_hidden_states=tokens, encoder_attention_mask=mask)
    t = torch.tensor(500 / 1000).double()
    with torch.no_grad():
        found = denoiser(x, t).mean
        output = net(
            x, tokens.expand(2, -1, -1), torch.full((2,), 499.0),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            encoder_attention_mask=mask.expand(2, -1),
        ).sample  # fmt: skip
    assert (found - output[:, :4]).abs().max() < 1e-6
    other = model.denoiser.given(encoder_hidden_states=tokens)
    with torch.no_grad():
        assert (other(x, t).mean - found).abs().max() > 1e-4


def test_the_added_conditions_of_the_xl_network() -> None:
    net = made(
        lambda: UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1,
            block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16,
            addition_embed_type="text_time", addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 12,
        )
    )  # fmt: skip
    model = from_model(net, DDPMScheduler(prediction_type="sample", clip_sample=False))
    x, tokens, pooled = noise(2, 4, 8, 8), noise(2, 5, 16), noise(2, 12)
    ids = torch.tensor([[16, 16, 0, 0, 16, 16]])
    denoiser = model.denoiser.given(encoder_hidden_states=tokens, text_embeds=pooled, time_ids=ids)
    with torch.no_grad():
        found = denoiser(x, HALF).mean
        added = {"text_embeds": pooled, "time_ids": ids.expand(2, -1)}
        output = net(x, torch.full((2,), 499.0), tokens, added_cond_kwargs=added).sample
    assert (found - output).abs().max() < 1e-6


def test_classes_and_learned_times_of_the_plain_unet(unet: Any) -> None:
    scheduler = DDIMScheduler(prediction_type="sample", clip_sample=False)
    net = unet(num_class_embeds=3)
    denoiser = from_model(net, scheduler).denoiser
    x, labels = noise(2, 1, 8, 8), torch.tensor([0, 2])
    with torch.no_grad():
        found = denoiser.given(label=labels)(x, HALF).mean
        assert torch.equal(found, net(x, 499, labels).sample)
    with pytest.raises(InputError, match="UNet2DModel needs class_labels"):
        denoiser(x, HALF)
    net = unet(time_embedding_type="learned", num_train_timesteps=1000)
    denoiser = from_model(net, scheduler).denoiser
    with torch.no_grad():
        assert torch.equal(denoiser(x, HALF).mean, net(x, torch.tensor(499)).sample)
        between = denoiser(x, torch.tensor(0.5004).double()).mean
        assert (between - net(x, torch.tensor(499)).sample).abs().max() < 1e-6


def test_each_item_has_its_own_time(unet: Any) -> None:
    denoiser = from_model(unet(), DDPMScheduler()).denoiser
    x, t = noise(2, 1, 8, 8), torch.tensor([0.3, 0.8]).double()
    with torch.no_grad():
        both = denoiser(x, t).mean
        for i in range(2):
            assert (both[i] - denoiser(x[i : i + 1], t[i]).mean[0]).abs().max() < 1e-5
    with pytest.raises(InputError, match="one clock"):
        denoiser(x, torch.full((2, 8), 0.5).double())


def test_half_precision_weights_take_a_float32_state(unet: Any) -> None:
    net = unet().to(torch.bfloat16)
    model = from_model(net, DDPMScheduler())
    with torch.no_grad():
        q = model.denoiser(noise(2, 1, 8, 8), HALF)
    assert q.mean.dtype == torch.float32 and q.mean.isfinite().all()


class Still(Adapter):
    """A network of nobody's: it returns what it is told to."""

    takes = ("value",)
    channels = 1

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        return torch.full_like(x, float(context["value"]))


def test_an_adapter_of_ones_own() -> None:
    scheduler = DDIMScheduler(prediction_type="sample", clip_sample=False)
    model = from_model(Still(nn.Identity()), scheduler, size=4)
    x = sample(
        model.process, model.denoiser.given(value=0.25), model.blank(3, torch.Generator()),
        sampler=model.sampler, grid=model.grid(model.process, 5), generator=torch.Generator(),
    )  # fmt: skip
    assert torch.allclose(x, torch.full((3, 1, 4, 4), 0.25))


def test_errors_are_one_sentence(unet: Any) -> None:
    with pytest.raises(
        Unsupported, match="Linear is not a network that sfumato-diffusers can call"
    ):
        adapt(nn.Linear(1, 1))
    inpainting = UNet2DModel(
        sample_size=8, in_channels=5, out_channels=2, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    with pytest.raises(InputError, match="takes 5 channels and returns 2"):
        from_model(inpainting, DDPMScheduler())
    with pytest.raises(InputError, match="does not say what size it was made for"):
        from_model(Still(nn.Identity()), DDPMScheduler())
    with pytest.raises(InputError, match="UNet2DModel takes no colour; it takes class_labels"):
        from_model(unet(), DDPMScheduler()).denoiser.given(colour=1)
