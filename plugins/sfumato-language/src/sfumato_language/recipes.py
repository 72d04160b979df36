"""Recipes: masked diffusion models of text, from data to sampler."""

from __future__ import annotations

__all__ = ["Brown", "Captions", "Emoji", "Masked", "Pairs", "Text", "Tuned"]

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from torch import nn

from sfumato import Dataset, Model, registry
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_nn.pictured import PicturedTokens, PictureEncoder
from sfumato_nn.tokens import TokenTransformer
from sfumato_train import Recipe, Training
from sfumato_train.ema import parts
from sfumato_train.linked import LinkedModel, linked_model

from .canvas import CANVAS, Blank
from .complementary import Complementary
from .denoiser import TextDenoiser
from .foreign import load, template_of, tokenizer_of
from .lora import adapted
from .objective import AnyOrder
from .tokens import TokenizerName, rebuilt


class Masked(Recipe):
    """What all masked diffusion models of token ids have."""

    tokenizer: TokenizerName = "bpe"
    vocabulary: int = Field(1024, ge=258, le=1 << 20, description="tokens of bpe, at most")
    length: int = Field(128, ge=2, le=1 << 16, description="tokens of a window")
    network: str = Field("tokens", description="a registered network over ids")
    network_size: str = Field("tiny", description="one of its sizes: nano, tiny, mini, small, base")
    timed: bool = Field(False, description="tell the network the time, which it does not need")
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
        net = self.net(about)
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

    def net(self, about: Mapping[str, Any], **options: Any) -> nn.Module:
        """The network of the text, its weights fresh; `options` are of its own."""
        made: nn.Module = registry().load("network", self.network)(
            self.network_size, vocabulary=about["vocabulary"] + 1, time=self.timed, **options
        )
        return made

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, TextDenoiser)
        return Training(AnyOrder(model.denoiser), data, model)


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


_NETWORK = ("network", "network_size", "timed")


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
        net: Any = model.denoiser.net
        net.inner = adapted(net.inner, self.lora)
        sampler = registry().load("sampler", self.sampler)()
        return replace(model, sampler=sampler, steps=self.sampling_steps)

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, TextDenoiser)
        return Training(AnyOrder(model.denoiser), data, model)


class Brown(Text):
    """The Brown corpus, 500 documents of American English of 1961, by characters."""

    known: ClassVar[str | None] = "brown"

    tokenizer: TokenizerName = "char"


class Captions(Masked):
    """A masked diffusion model that describes pictures.

    A small vision transformer turns a picture into a prefix, which the text reads and which reads
    itself alone, so that it is encoded once a picture; training hides each token of a caption in
    one of two rows (Li et al. 2025, arXiv:2505.16839).
    """

    domain: ClassVar[str] = "language-captions"

    vocabulary: int = Field(512, ge=258, le=1 << 20, description="tokens of bpe, at most")
    length: int = Field(24, ge=2, le=1 << 16, description="tokens of a caption, its end included")
    network: Literal["tokens"] = Field("tokens", description="what takes a picture as prefix")
    timed: Literal[False] = Field(False, description="a prefix that is kept holds at all times")
    sampler: str = Field(
        "top-probability", description="a registered sampler; a command may ask for another"
    )
    grid: str = Field("shifted", description="a registered grid; a command may ask for another")
    sampling_steps: int = Field(12, ge=1, description="steps of the sampler")
    lr: float = Field(1.5e-3, gt=0, le=1, description="peak learning rate of AdamW")

    size: int = Field(
        32, ge=4, le=1024, description="pixels a side that pictures are brought to, over white"
    )
    patch: int = Field(4, ge=1, description="pixels a side of a patch, a power of two")
    pool: int = Field(1, ge=1, description="patches a side that are averaged into one vector")
    crops: bool = Field(
        False, description="look at the whole at half its size, and at its quarters"
    )
    weights: Literal["even", "bound"] = Field(
        "even", description="of the tokens in the loss, see `complementary`"
    )

    def reading(self) -> Mapping[str, Any]:
        names = ("tokenizer", "vocabulary", "length", "size")
        return {name: getattr(self, name) for name in names}

    def net(self, about: Mapping[str, Any], **options: Any) -> nn.Module:
        text = super().net(about, near=0.0, **options)  # what is to be read first is the picture
        assert isinstance(text, TokenTransformer)
        channels, *sides = about["picture"]
        width = text.table.embedding_dim
        encoder = PictureEncoder(
            channels, sides, patch=self.patch, width=width, depth=(len(text.blocks) + 1) // 2,
            heads=width // text.head, pool=self.pool, crops=self.crops,
        )  # fmt: skip
        return PicturedTokens(text, encoder)

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, TextDenoiser)
        return Training(Complementary(model.denoiser, self.weights), data, model)


class Emoji(Captions):
    """Names for emoji, 3,926 pictures of a font, by what Unicode calls them."""

    known: ClassVar[str | None] = "emoji"

    length: int = Field(48, ge=2, le=1 << 16, description="tokens of a caption, its end included")
