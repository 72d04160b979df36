"""Texts: what the text encoders of a pipeline make of a prompt."""

from __future__ import annotations

__all__ = ["prompts"]

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sfumato import InputError

from .adapters import Prompts

_RETURNED: Mapping[str, Mapping[str, int]] = {
    # network: places in what `encode_prompt` of its pipelines returns, with guidance and without
    "UNet2DConditionModel": {"encoder_hidden_states": 0},
    "PixArtTransformer2DModel": {"encoder_hidden_states": 0, "encoder_attention_mask": 1},
    "SD3Transformer2DModel": {"encoder_hidden_states": 0, "pooled_projections": 2},
    "FluxTransformer2DModel": {"encoder_hidden_states": 0, "pooled_projections": 1},
}
_POOLED = {"encoder_hidden_states": 0, "text_embeds": 2}  # of the XL version of Stable Diffusion


def prompts(pipe: Any, network: Any) -> Prompts | None:
    """Texts to conditions by the pipeline's own `encode_prompt`; None where it has no such.

    No text is the empty prompt, or zeros where the pipeline is configured so.
    """
    places = _RETURNED.get(type(network).__name__)
    if places is None or not hasattr(pipe, "encode_prompt"):
        return None
    large = network.config.get("addition_embed_type") == "text_time"
    places = _POOLED if large else places
    accepted = inspect.signature(pipe.encode_prompt).parameters
    options = {"device": None, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    options = {name: value for name, value in options.items() if name in accepted}

    @torch.no_grad()
    def encode(texts: Sequence[str] | None) -> dict[str, Any]:
        if texts is not None and not all(isinstance(text, str) for text in texts):
            raise InputError("a prompt is a text, or a list of texts, one for each item")
        given = {**options, "device": pipe.device} if "device" in options else options
        asked = dict.fromkeys(n for n in ("prompt_2", "prompt_3") if n in accepted)
        returned = pipe.encode_prompt(prompt=list(texts or [""]), **asked, **given)
        found = {name: returned[place] for name, place in places.items()}
        if texts is None and pipe.config.get("force_zeros_for_empty_prompt"):
            found = {name: torch.zeros_like(value) for name, value in found.items()}
        if large:
            side = network.config.sample_size * pipe.vae_scale_factor
            found["time_ids"] = torch.tensor([[side, side, 0, 0, side, side]])
        return found

    return encode
