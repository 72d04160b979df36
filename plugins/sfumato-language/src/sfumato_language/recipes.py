"""Recipes: masked diffusion models of text, from data to sampler."""

from __future__ import annotations

__all__ = ["Brown", "Dna", "Insertions", "Masked", "Pairs", "Text"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from sfumato import Dataset, Model, registry
from sfumato_data import split
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_methods.discrete.insertion import Insertion, InsertionDenoiser
from sfumato_methods.simplex import Simplex, SimplexDenoiser
from sfumato_train import Denoising, Recipe, Training
from sfumato_train.ema import parts
from sfumato_train.linked import LinkedModel, linked_model

from .canvas import CANVAS, Blank
from .counts import Counted, count
from .denoiser import TextDenoiser
from .growing import Grown, Nothing
from .objective import AnyOrder
from .tokens import TokenizerName, rebuilt

_LEARNED = 0.2
"""Share of the data that weights are learned on where contexts are counted, in the rest of it."""


class Masked(Recipe):
    """What all masked diffusion models of token ids have."""

    tokenizer: TokenizerName = "bpe"
    vocabulary: int = Field(1024, ge=258, le=1 << 20, description="tokens of bpe, at most")
    length: int = Field(128, ge=2, le=1 << 16, description="tokens of a window")
    network: str = Field("tokens", description="a registered network over ids")
    network_size: str = Field("tiny", description="of it: pico, nano, tiny, mini, small or base")
    timed: bool = Field(False, description="tell the network the time, which it does not need")
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
    sampler: str = Field(
        "first-hitting", description="a registered sampler; a command may ask for another"
    )
    grid: str = Field("uniform", description="a registered grid; a command may ask for another")
    sampling_steps: int = Field(
        64, ge=1, description="steps of the sampler; of first-hitting, moments that are shown"
    )

    steps: int = Field(5000, ge=1, description="optimiser steps")
    batch: int = Field(64, ge=1, description="windows in each step")
    lr: float = Field(2e-3, gt=0, le=1, description="peak learning rate of AdamW")

    def model(self, about: Mapping[str, Any]) -> Model:
        process = Discrete(absorbing(about["vocabulary"]))
        ids = about["vocabulary"] + 1
        net = registry().load("network", self.network)(
            self.network_size, vocabulary=ids, time=self.timed
        )
        if self.contexts:
            net = Counted(net, ids, self.contexts)
        sizes = tuple((size, count) for size, count in about.get("lengths", ()))
        return Model(
            process=process,
            denoiser=TextDenoiser(net, process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=Blank(about["length"], about["vocabulary"], sizes),
            sizing=(CANVAS,),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        denoiser = model.denoiser
        assert isinstance(denoiser, TextDenoiser)
        if isinstance(denoiser.net, Counted):
            counted, data = split(data, _LEARNED, self.seed)
            count(denoiser.net, counted)
        objective = AnyOrder(denoiser, complementary=self.complementary, shares=self.shares)
        return Training(objective, data, model)


class Text(Masked):
    """A masked diffusion model of your text.

    Tokens are hidden, and a bidirectional transformer fills them in (Austin et al. 2021,
    arXiv:2107.03006; Sahoo et al. 2024, arXiv:2406.07524), in any order.
    """

    domain: ClassVar[str] = "language"

    pack: bool = Field(
        True, description="put the ends of several documents into a window, attention kept apart"
    )
    documents: Literal["file", "paragraph", "line"] = Field(
        "file", description="what of a plain text is a document"
    )
    column: str = Field("text", description="of tables and JSON lines, where the text is")
    empty: Literal["refuse", "skip"] = Field("refuse", description="what becomes of empty ones")

    def reading(self) -> Mapping[str, Any]:
        names = ("tokenizer", "vocabulary", "length", "pack", "documents", "column", "empty")
        return {name: getattr(self, name) for name in names}


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


class Insertions(Text):
    """A model that writes texts of any length, by inserting masks and unmasking them.

    Its length is part of what is learned, and the network works on the tokens there are, without
    padding (Kim et al. 2025, arXiv:2509.01025). It takes no prompts.
    """

    documents: Literal["file", "paragraph", "line"] = Field(
        "line", description="what of a plain text is a document"
    )
    empty: Literal["refuse", "skip"] = Field("skip", description="what becomes of empty ones")
    length: int = Field(64, ge=2, le=1 << 16, description="tokens of a text, at most")
    pack: Literal[False] = Field(False, description="each text is learned alone")
    network: str = Field("growing", description="a registered network over ids and gaps")
    timed: Literal[True] = Field(True, description="tell the network the time: it is needed")
    sampler: str = Field("event-driven", description="or `ancestral`, in small steps")
    sampling_steps: int = Field(
        8, ge=1, description="steps of the sampler; of event-driven, moments that are shown"
    )

    def model(self, about: Mapping[str, Any]) -> Model:
        process = Insertion(about["vocabulary"])
        net = registry().load("network", self.network)(
            self.network_size, vocabulary=about["vocabulary"] + 1, time=self.timed
        )
        return Model(
            process=process,
            denoiser=InsertionDenoiser(net, process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=Nothing(about["length"]),
            sizing=(CANVAS,),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, InsertionDenoiser)
        return Training(Grown(model.denoiser), data, model)


class Dna(Text):
    """Simplex diffusion of sequences of few letters: DNA, RNA, proteins, from FASTA.

    Letters are noised on the simplex (Avdeyev et al. 2023, arXiv:2305.10699); time dilation
    sharpens samples. Without data of yours, promoters of Drosophila.
    """

    known: ClassVar[str | None] = "promoters"

    tokenizer: TokenizerName = "char"
    sampler: str = Field("dilated", description="a registered sampler for points of a simplex")
    sampling_steps: int = Field(100, ge=1, description="steps of the sampler")

    def model(self, about: Mapping[str, Any]) -> Model:
        process = Simplex(about["vocabulary"])
        net = registry().load("network", self.network)(
            self.network_size, vocabulary=about["vocabulary"], time=True
        )
        sizes = tuple((size, count) for size, count in about.get("lengths", ()))
        return Model(
            process=process,
            denoiser=SimplexDenoiser(net, process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=Blank(about["length"], 0, sizes),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, SimplexDenoiser)
        return Training(Denoising(model.process, model.denoiser, dropout=0.0), data, model)
