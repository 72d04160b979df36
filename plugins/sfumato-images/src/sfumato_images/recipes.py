"""Recipes: diffusion models of images told a class or a caption, from data to sampler."""

from __future__ import annotations

__all__ = ["Digits", "Emoji", "Fashion", "Folder", "Photos"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from sfumato import Batch, Dataset, Denoiser, InputError, Model, Preconditioned, Process, registry
from sfumato.denoiser import NetworkDenoiser, Prediction
from sfumato_data import groups_of
from sfumato_methods.bridges import Bridging, Pinned
from sfumato_methods.gaussian import Observing, Phase
from sfumato_nn.beside import Beside
from sfumato_nn.sizes import SIZES
from sfumato_train import Denoising, Recipe, Training
from sfumato_train import times as laws
from sfumato_train.linked import Linked
from sfumato_train.pairing import is_paired
from sfumato_train.pinning import SOURCE
from sfumato_train.times import Times
from sfumato_train.weights import named

from . import captions as text
from . import degrading, pairs
from .fashion import CLOTHES
from .fitting import Fit, parse_size


def _size(size: int | str | None) -> int | str | None:
    """One form for one size, so that a run that goes on is told the same as when it began."""
    if size is None:
        return None
    height, width = parse_size(size)
    return height if height == width else f"{height}x{width}"


_BRIDGE = {"sampler": "dbim", "grid": "booted", "times": "uniform"}
_CORRELATION = 0.999  # at most, so that the network has something to add to what it is given


def _degradations(text: str | None) -> str | None:
    """One form for the same degradations, so that a run that goes on is told them as it began."""
    return None if text is None else "+".join(map(str, degrading.parse(text)))


class Folder(Recipe):
    """A diffusion model of images, told their class, caption and source where they have them.

    The defaults are those of Karras et al. 2022 (arXiv:2206.00364): noise added to the data, a
    preconditioned network, log-normal noise levels; sampled by DPM-Solver++(2M).
    """

    domain: ClassVar[str] = "images"

    size: Annotated[int | str | None, AfterValidator(_size)] = Field(
        None, description="bring pictures to this size: 32 for a square, 64x48 (height x width)"
    )
    fit: Fit = Field("cut", description="how: cut out of the centre, pad with white, stretch")
    buckets: int | None = Field(
        None,
        ge=8,
        le=4096,
        multiple_of=8,
        description="instead of size: keep aspects, in sizes of the area of a square of this side",
    )
    channels: int | None = Field(
        None, ge=1, le=4, description="1: grey, 3: colour, 4: with alpha; else as the pictures are"
    )
    captions: bool = Field(
        True, description="train on captions where pictures have them, beside their classes"
    )
    codec: Linked | None = Field(
        None, description="run of a codec such as images/kl, in whose latents the model works"
    )
    degrade: Annotated[str | None, AfterValidator(_degradations)] = Field(
        None,
        description="learn to restore: sources are made from the pictures by blur:1.5, mask:0.25, "
        "down:2, jpeg:20, noise:0.2, or several with + between them",
    )
    flip: bool = Field(False, description="train on mirror images too")
    network: str = Field("unet", description="a registered network")
    network_size: str = Field("tiny", description="one of its sizes, such as tiny, small, base")
    process: str = Field(
        "edm",
        description="a registered process: edm, linear, vp, cosine, ve, cld, agm; of pairs also "
        "those that begin at the source: ddbm, brownian-bridge, interpolant, rddm",
    )
    predict: Prediction = Field("edm", description="what the network predicts")
    weight: str | None = Field(
        None, description="of the loss: x0, eps, v, flow, edm, min-snr, sigmoid; else as predict"
    )
    times: Literal["lognormal", "uniform"] = Field(
        "lognormal",
        description="law of the noise levels, or of the time, in training; uniform where the "
        "process begins at the source",
    )
    noise_mean: float = Field(
        -0.5, description="lognormal: mean of log(sigma / alpha) over the scale of the data"
    )
    noise_std: float = Field(1.2, gt=0, description="lognormal: its standard deviation")
    condition_dropout: float = Field(
        0.1, ge=0, le=1, description="share trained without conditions, which guidance needs"
    )
    sampler: str = Field(
        "dpmpp-2m",
        description="a registered sampler, dbim where the process begins at the source; a command "
        "may ask for another",
    )
    grid: str = Field(
        "karras",
        description="a registered grid, booted where the process begins at the source; a command "
        "may ask for another",
    )
    sampling_steps: int = Field(20, ge=1, description="steps of the sampler")
    guidance: float | None = Field(
        None, description="classifier-free guidance where a class or a prompt is asked for"
    )

    batch: int = Field(64, ge=1, description="images in each step")

    @model_validator(mode="before")
    @classmethod
    def _suited(cls, values: Any) -> Any:
        """What goes with a process that begins at a source, where nothing else is asked for."""
        if not isinstance(values, Mapping):
            return values
        name = values.get("process", cls.model_fields["process"].default)
        known = any(one.name == name for one in registry().list("process"))
        if not known or SOURCE not in registry().load("process", name)().context:
            return values
        return {**_BRIDGE, **values}

    def reading(self) -> Mapping[str, Any]:
        return {
            "size": self.size,
            "channels": self.channels,
            "fit": self.fit,
            "buckets": self.buckets,
            "captions": self.captions,
        }

    def prepared(self, data: Dataset) -> Dataset:
        return data if self.degrade is None else pairs.degrade(data, self.degrade, self.seed)

    def model(self, about: Mapping[str, Any]) -> Model:
        process = registry().load("process", self.process)()
        codec: Any = self.codec and self.codec.blank(about)
        channels: int = about["channels"]
        paired = is_paired(about)
        if SOURCE in process.context and not paired:
            raise InputError(
                f"process={self.process} begins at a source, but the data has no pairs; give a "
                "folder that holds source and target, or a degradation such as degrade=blur:1.5"
            )
        sides: list[int] = []
        for size in about.get("buckets", [about["size"]]):
            shape = (about["channels"], *size)
            channels, *own = codec.layout(torch.zeros(1, *shape)).shape[1:] if codec else shape
            sides += own
        net = registry().load("network", self.network)(
            self.network_size,
            **({"channels": 2 * channels, "out": channels} if paired else {"channels": channels}),
            classes=len(about["classes"]),
            vector=about["text"]["dimension"] if "text" in about else 0,
            **self._levels(sides),
        )

        def blank(n: int, generator: torch.Generator, size: Tensor | None = None) -> Tensor:
            asked = about["size"] if size is None else size[0].tolist()
            return torch.zeros(n, about["channels"], *asked)

        return Model(
            process=process,
            denoiser=self._denoiser(Beside(net) if paired else net, process, about),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=blank,
            codec=codec,
            guidance=self.guidance,
            sizing=("size",) if "buckets" in about else (),
        )

    def _denoiser(self, net: nn.Module, process: Process, about: Mapping[str, Any]) -> Denoiser:
        """The network in the preconditioning that goes with the process."""
        scale = self._scale(about)
        if isinstance(process, Phase):
            inner = Told(net, process.observed, self.predict, sigma_data=scale)
            return Observing(inner, process)
        if not isinstance(process, Pinned):
            return Told(net, process, self.predict, sigma_data=scale)
        if self.predict != "edm":
            raise InputError(
                f"predict={self.predict}: the network of a bridge such as process={self.process} "
                "predicts by its own preconditioning; leave predict out"
            )
        if self.codec:  # latents are standardised, and how theirs go together is not known
            return Bridged(net, process, sigma_data=scale, sigma_source=scale)
        source = float(about["sigma_source"])
        bound = _CORRELATION * scale * source
        both = max(-bound, min(float(about["cross"]), bound))
        return Bridged(net, process, sigma_data=scale, sigma_source=source, covariance=both)

    def _scale(self, about: Mapping[str, Any]) -> float:
        """Scale of the data; latents are standardised."""
        return 1.0 if self.codec else float(about["sigma_data"])

    def _levels(self, sides: Sequence[int]) -> Mapping[str, Any]:
        """For a U-Net, more levels than its size has where the images have long sides.

        The coarsest level sees at most 8 pixels a side, all of them at once by attention, so that
        distant parts of an image agree whatever its size; added levels cost little.
        """
        own = SIZES["unet"].get(self.network_size, {})
        if self.network != "unet" or not own:
            return {}
        widths = own["widths"]
        missing = math.ceil(math.log2(max(sides) / 8)) + 1 - len(widths)
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
    held: float | None = Field(0.25, ge=0, lt=1, description="share of the data never trained on")
    condition_dropout: float = Field(
        0.05, ge=0, le=1, description="share trained without the class, which guidance needs"
    )
    guidance: float | None = Field(
        1.25, description="classifier-free guidance where a class is asked for"
    )


class Fashion(Folder):
    """Fashion-MNIST: 60,000 pictures of clothes of 10 classes; its 10,000 test pictures are held.

    Xiao et al. 2017, arXiv:1708.07747.
    """

    known: ClassVar[str | None] = "fashion-mnist"

    held: float | None = Field(
        None, ge=0, lt=1, description="share never trained on; none: the test part of Fashion-MNIST"
    )
    steps: int = Field(3000, ge=1, description="optimiser steps")
    lr: float = Field(2e-3, gt=0, le=1, description="peak learning rate of AdamW")

    def reading(self) -> Mapping[str, Any]:
        return {**super().reading(), "classes": CLOTHES}


class Emoji(Folder):
    """Emoji of a colour-bitmap font, told their names: the pictures of Noto Color Emoji."""

    known: ClassVar[str | None] = "emoji"

    size: Annotated[int | str | None, AfterValidator(_size)] = Field(
        32, description="pixels a side"
    )
    network_size: str = Field("mini", description="one of its sizes, such as tiny, small, base")
    steps: int = Field(4000, ge=1, description="optimiser steps")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")
    guidance: float | None = Field(
        2.0, description="classifier-free guidance where a prompt is asked for"
    )


class Photos(Folder):
    """Patches of photographs, without conditions: textures and edges as nature has them."""

    known: ClassVar[str | None] = "photographs"

    size: Annotated[int | str | None, AfterValidator(_size)] = Field(
        32, description="pixels a side of the patches"
    )
    held: float | None = Field(
        0.2, ge=0, lt=1, description="share of the regions of the photographs never trained on"
    )
    stride: int | None = Field(
        None, ge=1, description="pixels between patches; none: half of their side"
    )
    flip: bool = Field(True, description="train on mirror images too")

    def reading(self) -> Mapping[str, Any]:
        return {"patch": self.size, "stride": self.stride, "channels": self.channels}


class _Told(NetworkDenoiser):
    """A denoiser whose network is not told the text of a caption: that is for people."""

    def given(self, **condition: Any) -> Self:
        condition.pop(text.CAPTION, None)
        return super().given(**condition)


class Told(_Told, Preconditioned):
    """`Preconditioned`, not told the text of a caption."""


class Bridged(_Told, Bridging):
    """`Bridging`, not told the text of a caption."""


@dataclass(frozen=True, eq=False)
class Flipped:
    """A data set twice as long: after the images come their mirror images, and their sources'."""

    source: Dataset

    @property
    def about(self) -> Mapping[str, Any]:
        """The facts of the source."""
        return self.source.about

    def groups(self) -> Sequence[int] | None:
        """Those of the source, twice."""
        groups = groups_of(self.source)
        return None if groups is None else [*groups, *groups]

    def __len__(self) -> int:
        return 2 * len(self.source)

    def batch(self, index: Sequence[int]) -> Batch:
        """The images at `index`; i + N is the mirror image of i."""
        half = len(self.source)
        plain = self.source.batch([i % half for i in index])
        mirrored = torch.tensor([i >= half for i in index])[:, None, None, None]
        condition = dict(plain.condition)
        if SOURCE in condition:
            x = condition[SOURCE]
            condition[SOURCE] = torch.where(mirrored, x.flip(3), x)
        return Batch(torch.where(mirrored, plain.x.flip(3), plain.x), condition, plain.about)
