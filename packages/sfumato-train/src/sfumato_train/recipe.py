"""Recipes: what is trained and how, as one frozen, checked set of values."""

from __future__ import annotations

__all__ = ["CodecRecipe", "Recipe", "Settings", "Training"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from sfumato import Dataset, Model

from .ema import WIDEST, Trained
from .objective import Denoising, Objective


@dataclass(frozen=True)
class Training:
    """What a recipe builds.

    Attributes:
        objective: who is trained in turn, on what.
        data: the items trained on.
        model: what a checkpoint stores: a model to draw samples from, a codec for other models, or
            any other module.
    """

    objective: Objective
    data: Dataset
    model: Trained


class Settings(BaseModel):
    """How any objective is trained."""

    # Defaults are written as `default=`, which type checkers understand without a plugin.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(default=0, ge=0, description="of everything random in the training")
    steps: int = Field(default=10_000, ge=1, description="optimiser steps")
    batch: int = Field(default=128, ge=1, description="items in each step")
    accumulation: int = Field(
        default=1,
        ge=1,
        description="parts that a batch is processed in, one after the other, to save memory",
    )
    lr: float = Field(default=5e-4, gt=0, le=1, description="peak learning rate of AdamW")
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="of AdamW, on matrices and kernels"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of AdamW")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="of AdamW")
    warmup: int = Field(default=100, ge=0, description="steps in which the learning rate rises")
    decay: Literal["cosine", "constant"] = Field(
        default="cosine", description="learning rate after the warm-up; the cosine ends at 0"
    )
    clip: float = Field(
        default=1.0, gt=0, description="largest norm of a gradient; longer ones are scaled"
    )
    ema: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the averaged weights; 0: none kept"
    )
    decays: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(), description="decays of further averages, kept beside"
    )
    widths: tuple[Annotated[float, Field(gt=0, lt=WIDEST)], ...] = Field(
        default=(),
        max_length=4,
        description="relative widths of power-function averages, of which each checkpoint leaves a "
        "snapshot; from those of two, such as 0.05,0.1, any other is had after the training",
    )
    recompute: bool = Field(
        default=False,
        description="compute activations again in the backward pass: less memory, a third slower",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="of the network's arithmetic; auto: bf16 on GPUs that have it, else fp32",
    )
    log: int = Field(default=50, ge=1, description="steps between rows of metrics.jsonl")
    save: int = Field(default=1000, ge=1, description="steps between checkpoints")
    keep: int = Field(default=2, ge=1, description="last checkpoints to keep, besides the best")


class Recipe(Settings):
    """A recipe: settings, fields of its own, and the model that they describe.

    Subclasses set `domain`, add fields and write `model`; those with weights, times or an objective
    of their own also write `build`. A recipe is found by the name that a plugin announces it under.
    """

    domain: ClassVar[str]
    """Name of the domain whose data it reads."""

    known: ClassVar[str | None] = None
    """Name of the data set that it is trained on where none is given; None: the domain's demo."""

    held: float | None = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the data never trained on; none: the test part that the data has",
    )

    def reading(self) -> Mapping[str, Any]:
        """Options for the `read` of the domain, such as a size to bring images to."""
        return {}

    def prepared(self, data: Dataset) -> Dataset:
        """The data as it is trained on, such as with a source for each item; by default as read."""
        return data

    def model(self, about: Mapping[str, Any]) -> Model:
        """The model, its weights fresh, for data with these facts (`Dataset.about`)."""
        raise NotImplementedError(f"{type(self).__name__} has no model")

    def trained(self, about: Mapping[str, Any]) -> Trained:
        """What a checkpoint stores, its weights fresh."""
        return self.model(about)

    def build(self, data: Dataset) -> Training:
        """What is trained; by default `Denoising` of the model."""
        model = self.model(data.about)
        return Training(Denoising(model.process, model.denoiser, model.codec), data, model)


class CodecRecipe(Recipe):
    """A recipe that trains a codec for other models; subclasses write `codec` and `build`."""

    def codec(self, about: Mapping[str, Any]) -> nn.Module:
        """The codec, its weights fresh, for data with these facts: see `LearnedCodec`."""
        raise NotImplementedError(f"{type(self).__name__} has no codec")

    def trained(self, about: Mapping[str, Any]) -> Trained:
        return self.codec(about)
