"""Recipes: diffusion of molecules in space, from data to sampler."""

from __future__ import annotations

__all__ = ["CCD3D", "SDF", "Conformers", "blank_of"]

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Generator, Tensor

from sfumato import Ancestral, Dataset, Fields, InputError, Model
from sfumato_data import gather
from sfumato_methods import grids
from sfumato_methods.discrete.sizes import Sizes
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_train import Jointly, Recipe, Training

from .denoiser import MoleculeDenoiser
from .files import ORGANIC
from .process import ConformerProcess, MoleculeProcess
from .space import ORDERS, Placed, blank

WEIGHTS = {"positions": 1.0, "atoms": 0.5, "bonds": 2.0}
"""Of the fields in the loss."""

FEWEST = 3
"""Atoms of the smallest molecule of the demo."""


class _Molecules(Recipe):
    """What all models of molecules in space have: the network and its training."""

    domain: ClassVar[str] = "molecules"

    width: int = Field(96, ge=8, description="channels of the network")
    depth: int = Field(5, ge=1, description="layers of the network")
    radius: float | None = Field(
        None, gt=0, description="atoms farther apart, in standard deviations, send no messages"
    )
    chiral: bool = Field(False, description="tell mirror images apart")
    sampling_steps: int = Field(100, ge=1, description="steps of the sampler")

    batch: int = Field(64, ge=1, description="molecules in each step")
    steps: int = Field(20_000, ge=1, description="optimiser steps")
    lr: float = Field(2e-3, gt=0, le=1, description="peak learning rate of AdamW")
    held: float | None = Field(0.1, ge=0, lt=1, description="share of molecules never trained on")

    def reading(self) -> Mapping[str, Any]:
        return {"dimensions": 3}

    def network(self, classes: int, orders: int, vector: int = 0) -> EquivariantNetwork:
        """The network for so many classes of atoms and classes of pairs."""
        return EquivariantNetwork(
            classes, classes, pairs=orders, pairs_out=orders, width=self.width, depth=self.depth,
            radius=self.radius, chiral=self.chiral, vector=vector,
        )  # fmt: skip


class _Demo(Recipe):
    """What molecules are taken of the data."""

    elements: tuple[str, ...] = Field(
        ORGANIC, description="molecules of others are passed over, as are larger ones"
    )
    heavy: int = Field(9, ge=1, le=999, description="heavy atoms of the largest molecule taken")

    def reading(self) -> Mapping[str, Any]:
        own = {"elements": self.elements, "heavy": self.heavy, "fewest": FEWEST}
        return {**super().reading(), **own}


class SDF(_Molecules):
    """Your own molecules, places and atoms and bonds together.

    Places are noised around their mean (Hoogeboom et al. 2022, EDM, arXiv:2203.17003), classes of
    atoms and bonds are drawn anew from the law of the data (Vignac et al. 2023, MiDi,
    arXiv:2302.09048); one equivariant network denoises all of them.
    """

    bonds: Literal["predicted", "inferred"] = Field(
        "predicted", description="made by the model, or told by the distances afterwards"
    )
    conditions: tuple[str, ...] = Field(
        (), description="properties that samples may be asked for with, such as logp"
    )

    def reading(self) -> Mapping[str, Any]:
        return {**super().reading(), "conditions": self.conditions}

    def model(self, about: Mapping[str, Any]) -> Model:
        classes, orders = len(about["classes"]), ORDERS if self.bonds == "predicted" else 0
        process = MoleculeProcess(classes, orders, about["largest"])
        told = {k: (v["mean"], v["mad"]) for k, v in about["conditions"].items()}
        net = self.network(classes, orders, vector=2 * len(told))
        return Model(
            process=process,
            denoiser=MoleculeDenoiser(net, process, told),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=blank_of(process.sizes),
            codec=Placed(),
            sizing=("atoms",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, MoleculeProcess) and isinstance(model.codec, Placed)
        x = gather(data).x
        if "bonds" in model.process.parts:
            _bonded(x)
        model.process.fill(x)
        model.codec.fill(x)
        weight = {name: WEIGHTS[name] for name in model.process.parts}
        return Training(Jointly(model.process, model.denoiser, weight, model.codec), data, model)


class Conformers(_Demo, _Molecules):
    """Shapes of molecules whose atoms and bonds are known.

    Their places alone are noised; atoms and bonds are told to the network (as in Xu et al. 2022,
    GeoDiff, arXiv:2203.02923). Stereo centres are not told: both of their sides are made.
    """

    def model(self, about: Mapping[str, Any]) -> Model:
        process = ConformerProcess(about["largest"])
        net = self.network(len(about["classes"]), ORDERS)
        return Model(
            process=process,
            denoiser=MoleculeDenoiser(net, process),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=process.examples.blank,
            codec=Placed(),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, ConformerProcess) and isinstance(model.codec, Placed)
        x = _bonded(gather(data).x)
        model.process.examples.fill(x)
        model.codec.fill(x)
        weight = {"positions": 1.0}
        return Training(Jointly(model.process, model.denoiser, weight, model.codec), data, model)


class CCD3D(_Demo, SDF):
    """The demo: the molecules of the wwPDB's Chemical Component Dictionary of few heavy atoms."""


def _bonded(x: Fields) -> Fields:
    """The data, if all of its molecules have bonds."""
    if "bonds" not in x:
        raise InputError(
            "some molecules of the data have no bonds, which this model needs; with "
            "bonds=inferred molecules/sdf does without, and files are read with bonds told by "
            "their distances where they are asked to be"
        )
    return x


def blank_of(sizes: Sizes) -> Callable[..., Fields]:
    """Molecules to be filled, of sizes that are drawn or asked for."""

    def made(n: int, generator: Generator, atoms: Tensor | None = None) -> Fields:
        return blank(sizes.draw(n, generator, atoms))

    return made
