"""Adapters: how each family of networks of diffusers is called, and what conditions it takes."""

from __future__ import annotations

__all__ = ["Adapter", "adapt"]

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from sfumato import InputError, Unsupported

Prompts: TypeAlias = Callable[[Sequence[str] | None], dict[str, Any]]
"""Tensors that texts become, by the names the network takes; None: no text."""


class Adapter(nn.Module):
    """A network of diffusers, called as `adapter(x, timestep, **context)`.

    To use a network that sfumato-diffusers does not know, subclass: name its conditions in
    `takes`, set `channels` where its configuration has no `in_channels`, and write `forward`,
    which maps x (B, C, H, W) and float32 timesteps (B,) to an output of the same shape. `encode`
    is called once for each trajectory.

    Args:
        model: the network.
        prompts: what texts become, where there are text encoders.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    """Names of the conditions, those of the arguments of the network."""

    def __init__(self, model: nn.Module, prompts: Prompts | None = None) -> None:
        super().__init__()
        self.model = model
        self._prompts = prompts

    @property
    def channels(self) -> int:
        """Channels of the state."""
        return int(self._config["in_channels"])

    @property
    def patch(self) -> int:
        """Side of the square of the state that is one token of the network."""
        return int(self._config.get("patch_size") or 1)

    @property
    def _config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = getattr(self.model, "config", {})
        return config

    def encode(self, **condition: Any) -> dict[str, Any]:
        """Conditions as tensors that `forward` takes.

        Args:
            condition: `prompt`, a text or a list of them, where there are text encoders; `label`,
                class numbers; or what the network takes.

        Raises:
            InputError: for a condition that the network does not take.
        """
        found: dict[str, Any] = {}
        if self._prompts is not None and not condition.keys() & {"encoder_hidden_states"}:
            prompt = condition.pop("prompt", None)
            found = self._prompts([prompt] if isinstance(prompt, str) else prompt)
        if "class_labels" in self.takes and "label" in condition:
            condition["class_labels"] = condition.pop("label")
        unknown = condition.keys() - set(self.takes)
        if unknown:
            accepted = [*(["prompt"] if self._prompts else []), *self.takes]
            raise InputError(
                f"{type(self.model).__name__} takes no {', '.join(sorted(unknown))}; it takes "
                f"{', '.join(accepted) or 'no condition'}"
            )
        return found | {name: torch.as_tensor(value) for name, value in condition.items()}

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        """The output of the network, (B, C, H, W)."""
        raise NotImplementedError

    def _needed(self, context: Mapping[str, Any], name: str) -> Any:
        if context.get(name) is None:
            hint = "a prompt" if self._prompts else name
            raise InputError(
                f"{type(self.model).__name__} needs {name}: sample from "
                f"denoiser.given(...) with {hint}"
            )
        return context[name]


def _fitted(value: Any, x: Tensor) -> Any:
    """A condition on the device of the state, one for each item; floats in the dtype of it."""
    if value is None:
        return None
    value = value.to(x.device, x.dtype if value.is_floating_point() else None)
    if value.ndim == 0 or len(value) == 1:
        return value.reshape(1, *value.shape[1:]).expand(len(x), *value.shape[1:])
    if len(value) != len(x):
        raise InputError(f"{len(value)} conditions were given for {len(x)} items; give one each")
    return value


def _first(output: Tensor, x: Tensor) -> Tensor:
    """The prediction, without the variance that some networks return after it."""
    return output[:, : x.shape[1]]


class UNet2D(Adapter):
    """`UNet2DModel`: unconditional, or told a class."""

    takes = ("class_labels",)

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        model: Any = self.model
        if model.config.time_embedding_type == "learned":  # a table of whole indices
            timestep = timestep.round().long()
        labels = None
        if model.class_embedding is not None:
            labels = _fitted(self._needed(context, "class_labels"), x)
        return _first(model(x, timestep, class_labels=labels, return_dict=False)[0], x)


class UNet2DCondition(Adapter):
    """`UNet2DConditionModel`: Stable Diffusion, its XL version, and others told by attention."""

    takes = (
        "encoder_hidden_states", "encoder_attention_mask", "class_labels", "timestep_cond",
        "text_embeds", "time_ids", "image_embeds", "hint",
    )  # fmt: skip

    _ADDED = ("text_embeds", "time_ids", "image_embeds", "hint")

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        model: Any = self.model
        added = {name: _fitted(context[name], x) for name in self._ADDED if name in context}
        options = {k: _fitted(v, x) for k, v in context.items() if k not in added}
        tokens = _fitted(self._needed(options, "encoder_hidden_states"), x)
        del options["encoder_hidden_states"]
        if added:
            options["added_cond_kwargs"] = added
        return _first(model(x, timestep, tokens, return_dict=False, **options)[0], x)


class DiT(Adapter):
    """`DiTTransformer2DModel`: told a class; without one, the number after the last."""

    takes = ("class_labels",)

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        model: Any = self.model
        none = torch.tensor([model.config.num_embeds_ada_norm])
        labels = _fitted(context.get("class_labels", none), x)
        return _first(model(x, timestep, labels, return_dict=False)[0], x)


class PixArt(Adapter):
    """`PixArtTransformer2DModel`: told a text by attention."""

    takes = ("encoder_hidden_states", "encoder_attention_mask", "resolution", "aspect_ratio")

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        model: Any = self.model
        tokens = _fitted(self._needed(context, "encoder_hidden_states"), x)
        output = model(
            x,
            tokens,
            timestep,
            added_cond_kwargs={k: _fitted(context.get(k), x) for k in self.takes[2:]},
            encoder_attention_mask=_fitted(context.get("encoder_attention_mask"), x),
            return_dict=False,
        )[0]
        return _first(output, x)


class SD3(Adapter):
    """`SD3Transformer2DModel`: a flow told a text by attention and by one vector."""

    takes = ("encoder_hidden_states", "pooled_projections")

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        model: Any = self.model
        tokens, pooled = (_fitted(self._needed(context, name), x) for name in self.takes)
        output: Tensor = model(x, tokens, pooled, timestep, return_dict=False)[0]
        return output


class Flux(Adapter):
    """`FluxTransformer2DModel`: as SD3, on patches of 2 x 2 laid out as a sequence."""

    takes = ("encoder_hidden_states", "pooled_projections", "guidance")

    _GUIDANCE = 3.5  # what the distilled network is told unless asked for, as in its pipeline

    @property
    def channels(self) -> int:
        return super().channels // 4

    @property
    def patch(self) -> int:
        return 2

    def forward(self, x: Tensor, timestep: Tensor, **context: Any) -> Tensor:
        model: Any = self.model
        tokens, pooled = (_fitted(self._needed(context, name), x) for name in self.takes[:2])
        guidance = None
        if model.config.guidance_embeds:
            asked = context.get("guidance", torch.tensor([self._GUIDANCE]))
            guidance = _fitted(asked.float(), x)
        height, width = x.shape[2] // 2, x.shape[3] // 2
        patches = x.reshape(len(x), -1, height, 2, width, 2)
        output = model(
            patches.permute(0, 2, 4, 1, 3, 5).reshape(len(x), height * width, -1),
            tokens,
            pooled,
            timestep / 1000,
            img_ids=_places(height, width).to(x),
            txt_ids=x.new_zeros(tokens.shape[1], 3),
            guidance=guidance,
            return_dict=False,
        )[0]
        back = output.reshape(len(x), height, width, x.shape[1], 2, 2).permute(0, 3, 1, 4, 2, 5)
        found: Tensor = back.reshape(x.shape)
        return found


def _places(height: int, width: int) -> Tensor:
    """(height width, 3): 0, row, column of each patch."""
    row, column = torch.arange(height), torch.arange(width)
    return torch.cartesian_prod(torch.zeros(1, dtype=torch.long), row, column)


_ADAPTERS: Mapping[str, type[Adapter]] = {
    "UNet2DModel": UNet2D,
    "UNet2DConditionModel": UNet2DCondition,
    "DiTTransformer2DModel": DiT,
    "PixArtTransformer2DModel": PixArt,
    "SD3Transformer2DModel": SD3,
    "FluxTransformer2DModel": Flux,
}


def adapt(model: nn.Module, prompts: Prompts | None = None) -> Adapter:
    """The network in the adapter of its class.

    Raises:
        Unsupported: if there is none.
        InputError: if the network does not return what it takes.
    """
    for kind in type(model).__mro__:
        if kind.__name__ in _ADAPTERS:
            break
    else:
        raise Unsupported(
            f"{type(model).__name__} is not a network that sfumato-diffusers can call; it calls "
            f"{', '.join(_ADAPTERS)}. For another write an Adapter and give it to "
            "from_model(adapter, scheduler)"
        )
    config: Any = getattr(model, "config", {})
    inward, outward = config.get("in_channels"), config.get("out_channels")
    if inward and outward and outward not in (inward, 2 * inward):
        raise InputError(
            f"this {type(model).__name__} takes {inward} channels and returns {outward}; accepted "
            "are networks that return as many as they take, or twice that with a learned variance "
            "(those for inpainting and upscaling take an image beside the state)"
        )
    return _ADAPTERS[kind.__name__](model, prompts)
