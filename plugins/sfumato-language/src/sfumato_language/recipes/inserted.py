"""The recipe of texts that grow by insertion."""

from __future__ import annotations

__all__ = ["Insertions"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from sfumato import Dataset, Model, registry
from sfumato_methods.discrete import Insertion
from sfumato_train import Training

from ..canvas import CANVAS
from ..growing import GrowingDenoiser, Grown, Nothing
from .base import Corpus


class Insertions(Corpus):
    """A model that writes texts of any length, by inserting masks and unmasking them.

    Its length is part of what is learned, and the network works on the tokens there are, without
    padding (Kim et al. 2025, arXiv:2509.01025). It may grow between a prompt and a suffix.
    """

    domain: ClassVar[str] = "language-growing"

    documents: Literal["file", "paragraph", "line"] = Field(
        "line", description="what of a plain text is a document"
    )
    empty: Literal["refuse", "skip"] = Field("skip", description="what becomes of empty ones")
    length: int = Field(64, ge=2, le=1 << 16, description="tokens of a text, at most")
    pack: Literal[False] = Field(False, description="each text is learned alone")
    network: str = Field("growing", description="a registered network over ids and gaps")
    sampler: str = Field("event-driven", description="or `ancestral`, in small steps")
    sampling_steps: int = Field(
        8, ge=1, description="steps of the sampler; of event-driven, moments that are shown"
    )

    def model(self, about: Mapping[str, Any]) -> Model:
        process = Insertion(about["vocabulary"])
        net = self.net(about["vocabulary"] + 1, time=True)
        return Model(
            process=process,
            denoiser=GrowingDenoiser(net, process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=Nothing(about["length"]),
            sizing=(CANVAS,),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, GrowingDenoiser)
        return Training(Grown(model.denoiser), data, model)
