"""What latents are compared with: places and one-hot classes as numbers, by the same network."""

from __future__ import annotations

__all__ = ["Hot", "HotCodec"]

from collections.abc import Mapping
from typing import Any

from sfumato import Ancestral, Dataset, Fields, Model, Ragged
from sfumato.random import Source
from sfumato_data import gather
from sfumato_methods import grids
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_train import Jointly, Training

from ..denoiser import MoleculeDenoiser
from ..latents import LatentProcess
from ..recipes import Latent, blank_of
from ..space import Placed
from .edm import OneHot


class HotCodec(OneHot):
    """Places of unit variance and scaled one-hot classes."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.placed = Placed()

    def layout(self, like: Any) -> Fields:
        both = super().layout(like)
        return self.placed.layout(both)

    def decode(self, z: Any) -> Fields:
        return self.placed.decode(super().decode(z))

    def encode(self, x: Any, generator: Source) -> Fields:
        return self.layout(x)


class Hot(Latent):
    """`molecules/latent` without an autoencoder; all steps are of the diffusion."""

    def model(self, about: Mapping[str, Any]) -> Model:
        classes = len(about["classes"])
        process = LatentProcess(about["largest"])
        net = EquivariantNetwork(classes, classes, width=self.width, depth=self.depth)
        return Model(
            process=process,
            denoiser=MoleculeDenoiser(net, process),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=blank_of(process.sizes),
            codec=HotCodec(classes),
            sizing=("atoms",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, LatentProcess) and isinstance(model.codec, HotCodec)
        x = gather(data).x
        atoms: Ragged = x["atoms"]
        model.process.sizes.fill(atoms.counts)
        model.codec.placed.fill(x)
        weight = {"positions": 1.0, "atoms": 1.0}
        return Training(Jointly(model.process, model.denoiser, weight, model.codec), data, model)
