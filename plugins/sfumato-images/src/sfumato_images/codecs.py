"""Recipes of latent codecs: small autoencoders of images, for diffusion models of their latents."""

from __future__ import annotations

__all__ = ["KLCodec", "VQCodec"]

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato_eval import efficientnet
from sfumato_nn.autoencoder import KL, VQ, Autoencoder
from sfumato_train import Training
from sfumato_train.coding import Autoencoding, Critic
from sfumato_train.recipe import CodecRecipe


def _number(word: Any) -> Any:
    """A word of the command line as the number that a `Literal` is compared with."""
    return int(word) if isinstance(word, str) and word.isdecimal() else word


class _Images(CodecRecipe):
    """What both kinds of codec have in common."""

    domain: ClassVar[str] = "images"

    size: int | None = Field(
        None, ge=1, le=4096, description="resize and cut pictures to squares of this many pixels"
    )
    channels: int | None = Field(
        None, ge=1, le=4, description="1: grey, 3: colour, 4: with alpha; else as the pictures are"
    )
    factor: Annotated[Literal[2, 4, 8], BeforeValidator(_number)] = Field(
        4, description="pixels a side that one latent stands for"
    )
    latent: int = Field(4, ge=1, le=64, description="channels of the latents")
    width: int = Field(
        32, ge=1, le=1024, description="channels at full resolution, doubled at the next ones"
    )
    blocks: int = Field(1, ge=1, le=16, description="residual blocks at each resolution")
    features: float = Field(
        0.0,
        ge=0,
        description="weight of the distance in the features of EfficientNet-Lite0, colour only",
    )
    critic: float = Field(
        0.0, ge=0, description="weight of a critic that tells reconstructions from originals"
    )
    critic_start: int = Field(1000, ge=0, description="step from which the critic takes part")

    steps: int = Field(5_000, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=1, description="images in each step")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")

    def reading(self) -> Mapping[str, Any]:
        return {"size": self.size, "channels": self.channels}

    def build(self, data: Dataset) -> Training:
        channels, codec = data.about["channels"], self.codec(data.about)
        objective = Autoencoding(
            codec,
            look=_look(channels) if self.features else None,
            look_weight=self.features,
            critic=Critic(channels) if self.critic else None,
            critic_weight=self.critic,
            critic_start=self.critic_start,
        )
        return Training(objective, data, codec)

    def codec(self, about: Mapping[str, Any]) -> Autoencoder:
        raise NotImplementedError

    def _shape(self, about: Mapping[str, Any]) -> dict[str, Any]:
        levels = self.factor.bit_length()
        return {
            "channels": about["channels"],
            "size": about["size"],
            "latent": self.latent,
            "widths": [self.width * min(2**i, 4) for i in range(levels)],
            "blocks": self.blocks,
        }


class KLCodec(_Images):
    """An autoencoder with normal latents (Rombach et al. 2021, arXiv:2112.10752).

    The divergence counts more than in the paper (1e-6): small diffusion models learn smooth latents
    much sooner, and what that costs in reconstruction is little.
    """

    kl: float = Field(
        0.1, ge=0, description="weight of the divergence from N(0, I), in a sum over all pixels"
    )

    def codec(self, about: Mapping[str, Any]) -> KL:
        return KL(**self._shape(about), weight=self.kl)


class VQCodec(_Images):
    """An autoencoder with quantised latents (van den Oord et al. 2017, arXiv:1711.00937)."""

    codes: int = Field(512, ge=2, le=65_536, description="vectors that latents are chosen from")
    commitment: float = Field(
        0.25, ge=0, description="weight of the distance of the encoder's vectors from their codes"
    )

    def codec(self, about: Mapping[str, Any]) -> VQ:
        return VQ(**self._shape(about), codes=self.codes, weight=self.commitment)


def _look(channels: int) -> Callable[[Tensor], Tensor]:
    """What EfficientNet-Lite0 sees of images; raises `InputError` where it cannot look."""
    if channels != 3:
        raise InputError(
            f"features= compares what a network sees of colour images, and these have {channels} "
            "channel(s); leave it at 0"
        )
    seen = efficientnet.efficientnet_lite0()
    return lambda x: seen.function(Batch(x))
