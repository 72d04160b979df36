"""The recipe of strands of few letters, on the simplex."""

from __future__ import annotations

__all__ = ["Dna"]

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from sfumato import Dataset, Model, registry
from sfumato_methods.simplex import Simplex
from sfumato_train import Denoising, Training

from ..canvas import CANVAS, Clamped
from ..denoiser import StrandDenoiser
from ..tokens import TokenizerName
from .base import Corpus


class Dna(Corpus):
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
        net = self.net(about["vocabulary"], time=True)
        sizes = tuple((size, count) for size, count in about.get("lengths", ()))
        return Model(
            process=process,
            denoiser=StrandDenoiser(net, process),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=Clamped(about["length"], about["vocabulary"], sizes, axes=1),
            sizing=(CANVAS,),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.denoiser, StrandDenoiser)
        return Training(Denoising(model.process, model.denoiser, dropout=0.0), data, model)
