"""A recipe whose noising process is learned together with the denoiser, by a likelihood bound."""

from __future__ import annotations

__all__ = ["Learned"]

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from sfumato import Dataset, InputError, Model
from sfumato_methods.bounds import Continuous
from sfumato_methods.gaussian import Gaussian
from sfumato_methods.learned import NDM, NFDM
from sfumato_nn.sizes import unet
from sfumato_train import Training
from sfumato_train.variational import Variational

from .recipes import Flipped, Folder

_OF_DENOISING = ("weight", "times", "noise_mean", "noise_std")


class Learned(Folder):
    """A diffusion model of images whose forward process is learned.

    `process` is what it starts from: the networks that bend it are zero at first, and at the ends
    of time whatever they learn. Sampled by Heun's method on the probability flow, or by
    `sampler=ancestral`.
    """

    process: str = Field("vp", description="what is bent: vp, linear, cosine, ve, edm")
    forward: Literal["ndm", "nfdm"] = Field(
        "ndm", description="how: by a network of the data, or of its mean and width in noise"
    )
    forward_size: str = Field("tiny", description="size of each U-Net that bends the data")
    start: float = Field(
        1e-3, gt=0, lt=1, description="time up to which the bound leaves data to the last step"
    )
    straight: float = Field(
        0.0, ge=0, description="weight of the curvature of trajectories, for few steps"
    )
    sampler: str = Field("heun", description="a registered sampler that needs no AFFINE process")
    grid: str = Field("uniform", description="a registered grid that needs no AFFINE process")

    @model_validator(mode="after")
    def _without_weights(self) -> Self:
        fields = type(self).model_fields
        if given := [n for n in _OF_DENOISING if getattr(self, n) != fields[n].default]:
            raise ValueError(
                f"a bound on the likelihood has its own weight and times; take out "
                f"{', '.join(given)}"
            )
        return self

    def model(self, about: Mapping[str, Any]) -> Model:
        model = super().model(about)
        base, codec = model.process, model.codec
        if not isinstance(base, Gaussian):
            raise InputError(
                f"process={self.process} cannot be bent; take vp, linear, cosine, ve or edm"
            )
        like = torch.zeros(1, about["channels"], *about["size"])
        channels = (codec.layout(like) if codec else like).shape[1]
        # without attention, whose fused kernels have no forward-mode derivative
        nets = [
            unet(self.forward_size, channels=channels, attention=())
            for _ in range(2 if self.forward == "nfdm" else 1)
        ]
        kind = NFDM if self.forward == "nfdm" else NDM
        return replace(model, process=kind(base.schedule, *nets))

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        if self.codec and isinstance(model.codec, nn.Module):
            self.codec.fill(model.codec)
        objective = Variational(
            model.process,
            model.denoiser,
            model.codec,
            bound=Continuous(self.start),
            dropout=self.condition_dropout,
            straight=self.straight,
        )
        return Training(objective, Flipped(data) if self.flip else data, model)
