"""Recipes of captions: pictures as prefix of masked diffusion."""

from __future__ import annotations

__all__ = ["Captions", "Emoji"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from sfumato import Dataset
from sfumato_nn.pictured import PicturedTokens, PictureEncoder
from sfumato_nn.tokens import TokenTransformer
from sfumato_train import Training

from ..complementary import Complementary
from ..denoiser import TextDenoiser
from .masked import Shown


class Captions(Shown):
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

    def over(self, about: Mapping[str, Any]) -> nn.Module:
        # near=0: what is to be read first is the picture
        text = self.net(about["vocabulary"] + 1, time=False, near=0.0)
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
