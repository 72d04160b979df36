"""Recipes: the frames to come of moving points around a learned reference, or all their frames."""

from __future__ import annotations

__all__ = ["LastFrame", "Middle", "Pedestrians", "Trajectories", "Whole"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from sfumato import Dataset, InputError, Model, Preconditioned, registry
from sfumato.codec import Affine
from sfumato.random import Source
from sfumato_methods.bridges import Referenced, Referring
from sfumato_methods.gaussian import Centred, Cosine, Gaussian
from sfumato_nn.trajectory import Recall, TrajectoryNetwork, last
from sfumato_train import Denoising, Recipe, Training


class LastFrame(nn.Module):
    """The last given frame, repeated."""

    def __init__(self, future: int) -> None:
        super().__init__()
        self.future = future

    def forward(self, source: Mapping[str, Tensor]) -> Tensor:
        """(B, N, future, D)."""
        return last(source["past"], self.future)


class Middle(LastFrame):
    """The mean of all points in the last given frame."""

    def forward(self, source: Mapping[str, Tensor]) -> Tensor:
        """(B, N, future, D)."""
        past = source["past"]
        return last(past.mean(1, keepdim=True).expand_as(past), self.future)


class Whole(nn.Module):
    """A network of trajectories of which no frame is given; what it says has its middle at 0.

    Args:
        net: takes (x, clock, past, kind) and returns displacements (B, N, T, D).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, clock: Tensor, kind: Tensor | None = None) -> Tensor:
        """Displacements (B, N, T, D).

        Raises:
            InputError: if it was not told what the points are.
        """
        if kind is None:
            raise InputError("a model of trajectories is told the kind of each point")
        moved: Tensor = Centred().project(self.net(x, clock, x[:, :, :0], kind))
        return moved


@dataclass(frozen=True)
class Middled(Affine):
    """Trajectories about the middle of all their points and frames, in units of their spread."""

    def encode(self, x: Any, generator: Source) -> Any:
        return self.layout(x) / self.scale

    def layout(self, like: Any) -> Any:
        return Centred().project(like)


class Trajectories(Recipe):
    """Continues trajectories, or makes whole ones: simulated charges, or your own points.

    GeoTDM (Han et al. 2024, arXiv:2410.13027): the frames to come are noised around a reference
    that an equivariant network makes of the given ones, and denoised by another one. With `given=0`
    whole trajectories are noised around the middle of all their points and frames. Schedule,
    preconditioning and samplers are our own.
    """

    domain: ClassVar[str] = "molecules/trajectories"

    given: int = Field(10, ge=0, description="frames that the model is told; 0: none, not 1")
    future: int = Field(20, ge=1, description="frames that it makes")
    every: int | None = Field(
        None, ge=1, description="frames between windows of a long run; none: they do not overlap"
    )
    together: int | None = Field(
        None, ge=1, description="points of the largest system; larger ones are cut by places"
    )
    reference: Literal["learned", "last", "middle"] = Field(
        "learned", description="what is noised around: learned, the last frame, or its middle"
    )
    width: int = Field(32, ge=4, description="channels of the network")
    depth: int = Field(4, ge=1, description="pairs of layers, in space and in time")
    heads: int = Field(4, ge=1, description="heads of the attention; they divide the width")
    sampler: str | None = Field(
        None, description="a registered sampler; none: dbim, or dpmpp-2m where no frame is given"
    )
    sampling_steps: int = Field(20, ge=1, description="steps of the sampler")

    batch: int = Field(64, ge=1, description="trajectories in each step")
    steps: int = Field(5000, ge=1, description="optimiser steps")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")

    def reading(self) -> Mapping[str, Any]:
        return {
            "given": self.given, "future": self.future, "every": self.every,
            "together": self.together,
        }  # fmt: skip

    def network(self, about: Mapping[str, Any]) -> nn.Module:
        """What denoises."""
        return TrajectoryNetwork(
            len(about["features"]), width=self.width, depth=self.depth, heads=self.heads
        )

    def _reference(self, about: Mapping[str, Any]) -> nn.Module:
        future = about["future"]
        if self.reference != "learned":
            return LastFrame(future) if self.reference == "last" else Middle(future)
        net = TrajectoryNetwork(
            len(about["features"]), width=self.width, depth=max(1, self.depth // 2),
            heads=self.heads, clocked=False,
        )  # fmt: skip
        return Recall(net, future, self.width)

    def model(self, about: Mapping[str, Any]) -> Model:
        return self._continuing(about) if "source" in about else self._making(about)

    def _making(self, about: Mapping[str, Any]) -> Model:
        process = Gaussian(Cosine(), Centred())
        return Model(
            process=process,
            denoiser=Preconditioned(Whole(self.network(about)), process),
            sampler=registry().load("sampler", self.sampler or "dpmpp-2m")(),
            grid=registry().load("grid", "logsnr"),
            steps=self.sampling_steps,
            blank=_blank(about),
            codec=Middled(0.0, float(about["scale"])),
        )

    def _continuing(self, about: Mapping[str, Any]) -> Model:
        process = Referenced(self._reference(about), Cosine())
        return Model(
            process=process,
            denoiser=Referring(self.network(about), process),
            sampler=registry().load("sampler", self.sampler or "dbim")(),
            grid=registry().load("grid", "uniform"),
            steps=self.sampling_steps,
            blank=_blank(about),
            codec=Affine(0.0, float(about["scale"])),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        return Training(
            Denoising(model.process, model.denoiser, model.codec, dropout=0.0), data, model
        )


def _blank(about: Mapping[str, Any]) -> Callable[[int, Generator], Tensor]:
    """Trajectories to be filled, of the most frequent number of points."""

    def made(n: int, generator: Generator) -> Tensor:
        return torch.zeros(n, about["points"][0], about["future"], about["dimensions"])

    return made


class Pedestrians(Trajectories):
    """People who walk: 8 frames of 0.4 seconds are given and 12 made, as in the literature.

    ETH (Pellegrini et al. 2009) and UCY (Lerner et al. 2007), split as by Gupta et al. 2018,
    arXiv:1803.10892: trained on all places but one, whose folder `test` is to measure with; what is
    held out are the ends of the recordings trained on. People who are near each other make a
    system.
    """

    known: ClassVar[str | None] = "pedestrians"

    left_out: Literal["eth", "hotel", "univ", "zara1", "zara2"] = Field(
        "eth", description="the place that is not trained on"
    )
    given: int = Field(8, ge=0, description="frames that the model is told; 0: none, not 1")
    future: int = Field(12, ge=1, description="frames that it makes")
    every: int | None = Field(1, ge=1, description="frames between windows")
    together: int | None = Field(
        4, ge=1, description="people of the largest system; larger ones are cut by places"
    )
    held: float | None = Field(None, ge=0, lt=1, description="share held out; none: the test part")

    def reading(self) -> Mapping[str, Any]:
        return {**super().reading(), "left_out": self.left_out}
