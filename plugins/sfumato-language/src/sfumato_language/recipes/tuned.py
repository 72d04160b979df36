"""The recipe that tunes a masked model of others."""

from __future__ import annotations

__all__ = ["Tuned"]

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from sfumato import Dataset, InputError, Model, registry
from sfumato_train import Recipe, Training

from ..denoiser import TextDenoiser, masked
from ..foreign import MaskedNetwork, load, template_of, tokenizer_of
from ..lora import adapted
from ..objective import AnyOrder


class Tuned(Recipe):
    """A masked model of others that learns to answer, by low-rank adapters.

    Only responses are hidden, as in `Pairs`; the weights of the model stay as they are, and
    matrices of rank `lora` are added to its linear layers (Hu et al. 2021, arXiv:2106.09685). A run
    keeps all weights; configuration and code of the model are read from its folder each time.
    """

    domain: ClassVar[str] = "language-pairs"

    base: str = Field(description="folder of a masked model that transformers loads")
    trust: bool = Field(False, description="run the code that came with it")
    lora: int = Field(8, ge=1, le=4096, description="rank of the adapters")
    chat: bool = Field(False, description="put prompts as the chat template of the model does")
    separator: str = Field("\n", description="text between prompt and response, without chat")
    length: int = Field(64, ge=2, le=1 << 16, description="tokens of a pair, at most")

    sampler: str = Field("first-hitting", description="a registered sampler")
    sampling_steps: int = Field(64, ge=1, description="steps of the sampler")

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch: int = Field(16, ge=1, description="pairs in each step")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")

    @field_validator("base")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return str(Path(value).absolute())

    def reading(self) -> Mapping[str, Any]:
        known = tokenizer_of(self.base, trust=self.trust)
        around = "", self.separator
        if self.chat:
            around = template_of(self.base, trust=self.trust)
        names = dict(zip(("opening", "separator"), around, strict=True))
        return {"tokenizer": known, "length": self.length, **names}

    def model(self, about: Mapping[str, Any]) -> Model:
        model = load(self.base, length=about["length"], trust=self.trust).model
        denoiser = masked(model)
        net: Any = denoiser.net
        if isinstance(net, MaskedNetwork):
            net.inner = adapted(net.inner, self.lora)
        elif net.shape.block is None:
            denoiser.net = adapted(net, self.lora)
        else:
            raise InputError(f"{self.base} writes block by block, which is not tuned here")
        sampler = registry().load("sampler", self.sampler)()
        return replace(model, sampler=sampler, steps=self.sampling_steps)

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, TextDenoiser)
        return Training(AnyOrder(model.denoiser), data, model)
