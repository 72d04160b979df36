"""Recipes: the frames to come of moving points, by diffusion around a learned reference."""

from __future__ import annotations

__all__ = ["LastFrame", "Middle", "Trajectories"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from sfumato import Dataset, Model, registry
from sfumato.codec import Affine
from sfumato_methods.bridges import Referenced, Referring
from sfumato_methods.gaussian import Cosine
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


class Trajectories(Recipe):
    """Continues trajectories: simulated charges, or your own points.

    GeoTDM (Han et al. 2024, arXiv:2410.13027): the frames to come are noised around a reference
    that an equivariant network makes of the given ones, and denoised by another one. Schedule,
    preconditioning and sampler are our own.
    """

    domain: ClassVar[str] = "molecules/trajectories"

    given: int = Field(10, ge=2, description="frames that the model is told")
    future: int = Field(20, ge=1, description="frames that it makes")
    every: int | None = Field(
        None, ge=1, description="frames between windows of a long run; none: they do not overlap"
    )
    reference: Literal["learned", "last", "middle"] = Field(
        "learned", description="what is noised around: learned, the last frame, or its middle"
    )
    width: int = Field(32, ge=4, description="channels of the network")
    depth: int = Field(4, ge=1, description="pairs of layers, in space and in time")
    heads: int = Field(4, ge=1, description="heads of the attention; they divide the width")
    sampler: str = Field("dbim", description="a registered sampler; a command may ask for another")
    sampling_steps: int = Field(20, ge=1, description="steps of the sampler")

    batch: int = Field(64, ge=1, description="trajectories in each step")
    steps: int = Field(5000, ge=1, description="optimiser steps")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")

    def reading(self) -> Mapping[str, Any]:
        return {"given": self.given, "future": self.future, "every": self.every}

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
        process = Referenced(self._reference(about), Cosine())

        def blank(n: int, generator: Generator) -> Tensor:
            return torch.zeros(n, about["points"][0], about["future"], about["dimensions"])

        return Model(
            process=process,
            denoiser=Referring(self.network(about), process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", "uniform"),
            steps=self.sampling_steps,
            blank=blank,
            codec=Affine(0.0, float(about["scale"])),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        return Training(
            Denoising(model.process, model.denoiser, model.codec, dropout=0.0), data, model
        )
