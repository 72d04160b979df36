"""Recipes of masked diffusion: text, and answers to prompts."""

from __future__ import annotations

__all__ = ["Brown", "Masked", "Pairs", "Shown", "Text"]

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator
from torch import nn

from sfumato import Dataset, Model, registry
from sfumato_data import split
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_train import Training
from sfumato_train.ema import parts
from sfumato_train.linked import LinkedModel, linked_model

from ..canvas import CANVAS, Blank
from ..counts import Counted, count
from ..denoiser import TextDenoiser
from ..objective import AnyOrder
from ..tokens import TokenizerName, rebuilt
from .base import Corpus, Tokenized

_LEARNED = 0.2
"""Share of the data that weights are learned on where contexts are counted, in the rest of it."""


class Shown(Tokenized):
    """What all masked diffusion models of token ids have; subclasses say what is hidden."""

    timed: bool = Field(False, description="tell the network the time, which it does not need")

    def model(self, about: Mapping[str, Any]) -> Model:
        process = Discrete(absorbing(about["vocabulary"]))
        sizes = tuple((size, count) for size, count in about.get("lengths", ()))
        return Model(
            process=process,
            denoiser=TextDenoiser(self.over(about), process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=Blank(about["length"], about["vocabulary"], sizes),
            sizing=(CANVAS,),
        )

    def over(self, about: Mapping[str, Any]) -> nn.Module:
        """The network for data with these facts; the mask is an id more."""
        return self.net(about["vocabulary"] + 1, time=self.timed)


class Masked(Shown):
    """Masked diffusion in any order, of which a share of each window is hidden."""

    contexts: int = Field(
        0,
        ge=0,
        le=1 << 20,
        description="counted contexts that help the network, of each kind at most; 0: none",
    )
    complementary: bool = Field(
        False, description="hide in a second call what was seen in the first: two for each window"
    )
    shares: tuple[float, float] = Field(
        (0.0, 1.0), description="least and largest share of a window that is hidden in training"
    )

    def over(self, about: Mapping[str, Any]) -> nn.Module:
        net = super().over(about)
        return Counted(net, about["vocabulary"] + 1, self.contexts) if self.contexts else net

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        denoiser = model.denoiser
        assert isinstance(denoiser, TextDenoiser)
        if isinstance(denoiser.net, Counted):
            counted, data = split(data, _LEARNED, self.seed)
            count(denoiser.net, counted)
        objective = AnyOrder(denoiser, complementary=self.complementary, shares=self.shares)
        return Training(objective, data, model)


class Text(Corpus, Masked):
    """A masked diffusion model of your text.

    Tokens are hidden, and a bidirectional transformer fills them in (Austin et al. 2021,
    arXiv:2107.03006; Sahoo et al. 2024, arXiv:2406.07524), in any order.
    """


class Pairs(Masked):
    """A masked diffusion model that answers: pairs of prompt and response, or chats.

    Only responses are hidden and learned (Nie et al. 2025, arXiv:2502.09992, section 2.3). With
    `base` it begins with the averaged weights of another run of text, whose tokenizer and network
    it takes over.
    """

    domain: ClassVar[str] = "language-pairs"

    base: LinkedModel | None = Field(None, description="path of a run whose weights it begins with")
    separator: str = Field("\n", description="text between prompt and response")

    tokenizer: TokenizerName = "char"
    length: int = Field(64, ge=2, le=1 << 16, description="tokens of a pair, at most")

    @model_validator(mode="before")
    @classmethod
    def _taken_over(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The network of the base, which a run then keeps as its own."""
        if values.get("base") is None:
            return values
        base = linked_model(values["base"])
        taken = {name: base.values[name] for name in _NETWORK if name in base.values}
        return {**taken, **values, "base": base}

    def reading(self) -> Mapping[str, Any]:
        known = self.tokenizer if self.base is None else rebuilt(self.base.about["tokenizer"])
        names = ("vocabulary", "length", "separator")
        return {"tokenizer": known, **{name: getattr(self, name) for name in names}}

    def build(self, data: Dataset) -> Training:
        training = super().build(data)
        if self.base is not None:
            assert isinstance(training.model, Model)
            self.base.fill(parts(training.model))
        return training


_NETWORK = ("network", "network_size", "timed", "contexts")


class Brown(Text):
    """The Brown corpus, 500 documents of American English of 1961, by characters."""

    known: ClassVar[str | None] = "brown"

    tokenizer: TokenizerName = "char"
    shares: tuple[float, float] = Field(
        (0.1, 0.8), description="least and largest share of a window that is hidden in training"
    )
