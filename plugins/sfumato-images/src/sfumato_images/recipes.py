"""Recipes: a class-conditional diffusion model of images, from data to sampler."""

from __future__ import annotations

__all__ = ["Digits", "Folder"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from sfumato import Batch, Dataset, Model, Preconditioned, registry
from sfumato.denoiser import Prediction
from sfumato_nn.sizes import SIZES
from sfumato_train import Denoising, Recipe, Training
from sfumato_train import times as laws
from sfumato_train.linked import Linked
from sfumato_train.times import Times
from sfumato_train.weights import named


class Folder(Recipe):
    """A diffusion model of images of one size, told their class where they have classes.

    The defaults are those of Karras et al. 2022 (arXiv:2206.00364): noise added to the data, a
    preconditioned network, log-normal noise levels; sampled by DPM-Solver++(2M).
    """

    domain: ClassVar[str] = "images"

    size: int | None = Field(
        None, ge=1, le=4096, description="resize and cut pictures to squares of this many pixels"
    )
    channels: int | None = Field(
        None, ge=1, le=4, description="1: grey, 3: colour, 4: with alpha; else as the pictures are"
    )
    codec: Linked | None = Field(
        None, description="run of a codec such as images/kl, in whose latents the model works"
    )
    flip: bool = Field(False, description="train on mirror images too")
    network: str = Field("unet", description="a registered network")
    network_size: str = Field("tiny", description="one of its sizes, such as tiny, small, base")
    process: str = Field("edm", description="a registered process: edm, linear, vp, cosine, ve")
    predict: Prediction = Field("edm", description="what the network predicts")
    weight: str | None = Field(
        None, description="of the loss: x0, eps, v, flow, edm, min-snr, sigmoid; else as predict"
    )
    times: Literal["lognormal", "uniform"] = Field(
        "lognormal", description="law of the noise levels, or of the time, in training"
    )
    noise_mean: float = Field(
        -0.5, description="lognormal: mean of log(sigma / alpha) over the scale of the data"
    )
    noise_std: float = Field(1.2, gt=0, description="lognormal: its standard deviation")
    condition_dropout: float = Field(
        0.1, ge=0, le=1, description="share trained without the class, which guidance needs"
    )
    sampler: str = Field(
        "dpmpp-2m", description="a registered sampler; a command may ask for another"
    )
    grid: str = Field("karras", description="a registered grid; a command may ask for another")
    sampling_steps: int = Field(20, ge=1, description="steps of the sampler")
    guidance: float | None = Field(
        None, description="classifier-free guidance where a class is asked for"
    )

    batch: int = Field(64, ge=1, description="images in each step")

    def reading(self) -> Mapping[str, Any]:
        return {"size": self.size, "channels": self.channels}

    def model(self, about: Mapping[str, Any]) -> Model:
        process = registry().load("process", self.process)()
        codec: Any = self.codec and self.codec.blank(about)
        shape = (about["channels"], *about["size"])
        channels, *size = codec.layout(torch.zeros(1, *shape)).shape[1:] if codec else shape
        net = registry().load("network", self.network)(
            self.network_size,
            channels=channels,
            classes=len(about["classes"]),
            **self._levels(size),
        )
        return Model(
            process=process,
            denoiser=Preconditioned(net, process, self.predict, sigma_data=self._scale(about)),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=lambda n, generator: torch.zeros(n, *shape),
            codec=codec,
            guidance=self.guidance,
        )

    def _scale(self, about: Mapping[str, Any]) -> float:
        """Scale of the data; latents are standardised."""
        return 1.0 if self.codec else float(about["sigma_data"])

    def _levels(self, size: Sequence[int]) -> Mapping[str, Any]:
        """For a U-Net, more levels than its size has where the images are large.

        The coarsest level sees at most 8 pixels a side, all of them at once by attention, so that
        distant parts of an image agree whatever its size; added levels cost little.
        """
        own = SIZES["unet"].get(self.network_size, {})
        if self.network != "unet" or not own:
            return {}
        widths = own["widths"]
        missing = math.ceil(math.log2(max(size) / 8)) + 1 - len(widths)
        if missing <= 0:
            return {}
        coarsest = len(widths) + missing - 1
        return {
            "widths": (*widths, *widths[-1:] * missing),
            "attention": (*own.get("attention", ()), coarsest),
        }

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        if self.codec and isinstance(model.codec, nn.Module):
            self.codec.fill(model.codec)
        objective = Denoising(
            model.process,
            model.denoiser,
            model.codec,
            weight=None if self.weight is None else named(self.weight),
            times=self._times(self._scale(data.about)),
            dropout=self.condition_dropout,
        )
        return Training(objective, Flipped(data) if self.flip else data, model)

    def _times(self, sigma_data: float) -> Times:
        if self.times == "uniform":
            return laws.uniform
        mean = self.noise_mean + math.log(sigma_data)
        return partial(laws.lognormal, mean=mean, std=self.noise_std)


class Digits(Folder):
    """The demo: 8 x 8 handwritten digits, class-conditional, in two minutes on two cores."""

    steps: int = Field(1100, ge=1, description="optimiser steps")
    lr: float = Field(3e-3, gt=0, le=1, description="peak learning rate of AdamW")
    held: float = Field(0.25, ge=0, lt=1, description="share of the data never trained on")
    condition_dropout: float = Field(
        0.05, ge=0, le=1, description="share trained without the class, which guidance needs"
    )
    guidance: float | None = Field(
        1.25, description="classifier-free guidance where a class is asked for"
    )


@dataclass(frozen=True, eq=False)
class Flipped:
    """A data set twice as long: after the images come their mirror images."""

    source: Dataset

    @property
    def about(self) -> Mapping[str, Any]:
        """The facts of the source."""
        return self.source.about

    def __len__(self) -> int:
        return 2 * len(self.source)

    def batch(self, index: Sequence[int]) -> Batch:
        """The images at `index`; i + N is the mirror image of i."""
        half = len(self.source)
        plain = self.source.batch([i % half for i in index])
        mirrored = torch.tensor([i >= half for i in index])[:, None, None, None]
        return Batch(torch.where(mirrored, plain.x.flip(3), plain.x), plain.condition, plain.about)
