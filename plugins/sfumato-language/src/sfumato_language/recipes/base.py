"""What recipes have in common: tokens and a network over them, documents and their windows."""

from __future__ import annotations

__all__ = ["Corpus", "Tokenized"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from sfumato import registry
from sfumato_train import Recipe

from ..tokens import TokenizerName


class Tokenized(Recipe):
    """Token ids, a network over them, and a sampler."""

    tokenizer: TokenizerName = "bpe"
    vocabulary: int = Field(1024, ge=258, le=1 << 20, description="tokens of bpe, at most")
    length: int = Field(128, ge=2, le=1 << 16, description="tokens of a window")
    network: str = Field("tokens", description="a registered network over ids")
    network_size: str = Field("tiny", description="of it: pico, nano, tiny, mini, small or base")
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

    def net(self, ids: int, **options: Any) -> nn.Module:
        """The network over so many ids, its weights fresh; `options` are of its own."""
        made: nn.Module = registry().load("network", self.network)(
            self.network_size, vocabulary=ids, **options
        )
        return made


class Corpus(Tokenized):
    """Windows of documents."""

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
