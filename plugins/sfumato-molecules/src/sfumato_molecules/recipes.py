"""Recipes: diffusion of molecules in space, from data to sampler."""

from __future__ import annotations

__all__ = ["CCD3D", "SDF", "Conformers", "Latent", "Moses", "blank_of"]

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from sfumato import Ancestral, Dataset, Fields, InputError, Model
from sfumato_data import gather
from sfumato_methods import grids
from sfumato_methods.discrete import graphs as noise
from sfumato_methods.discrete.graphs import GraphProcess
from sfumato_methods.discrete.sizes import Sizes
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_nn.graphs import state as graphs
from sfumato_nn.graphs.transformer import GraphTransformer
from sfumato_train import Jointly, Recipe, Training

from . import rings
from .chem import Hydrogens
from .denoiser import MoleculeDenoiser
from .files import ORGANIC, Fragments, Infer
from .graphs import TOLD, BondDenoiser, most_bonds
from .latents import LatentProcess, PointCodec, Staged
from .process import ConformerProcess, MoleculeProcess
from .space import ORDERS, Placed, blank

WEIGHTS = {"positions": 1.0, "atoms": 0.5, "bonds": 2.0}
"""Of the fields in the loss."""

FEWEST = 3
"""Atoms of the smallest molecule of the demo."""

LAWS_OF = 100_000
"""Molecules, evenly from large data, that laws and sizes are taken of."""

_LAWS = {"marginal": noise.marginal, "uniform": noise.uniform}


class _Reading(Recipe):
    """How molecules are read, see `files.Reading`, and what samples may be asked for with."""

    domain: ClassVar[str] = "molecules"
    dimensions: ClassVar[int] = 3

    conditions: tuple[str, ...] = Field(
        (), description="properties that samples may be asked for with, such as logp"
    )
    column: str | None = Field(None, description="of a table, what holds the molecules")
    hydrogens: Hydrogens = Field("as-is", description="those of the records: keep, add or drop")
    infer: Infer = Field("distances", description="what tells bonds where a file has places only")
    fragments: Fragments = Field("reject", description="what becomes of several molecules in one")
    valences: bool = Field(True, description="reject what has impossible valences")
    elements: tuple[str, ...] | None = Field(
        None, description="molecules of others are passed over; none: all are taken"
    )
    heavy: int | None = Field(None, ge=1, description="heavy atoms of the largest molecule taken")
    fewest: int = Field(1, ge=1, description="atoms of the smallest molecule taken")
    most: int | None = Field(None, ge=1, description="records taken of each file, evenly")
    strict: bool = Field(False, description="a record that cannot be read is an error")

    def reading(self) -> Mapping[str, Any]:
        names = (
            "conditions", "column", "hydrogens", "infer", "fragments", "valences", "elements",
            "heavy", "fewest", "most", "strict",
        )  # fmt: skip
        return {"dimensions": self.dimensions, **{name: getattr(self, name) for name in names}}


class _Molecules(_Reading):
    """What all models of molecules in space have: the network and its training."""

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

    def network(self, classes: int, orders: int, vector: int = 0) -> EquivariantNetwork:
        """The network for so many classes of atoms and classes of pairs."""
        return EquivariantNetwork(
            classes, classes, pairs=orders, pairs_out=orders, width=self.width, depth=self.depth,
            radius=self.radius, chiral=self.chiral, vector=vector,
        )  # fmt: skip


class SDF(_Molecules):
    """Your own molecules, places and atoms and bonds together.

    Places are noised around their mean (Hoogeboom et al. 2022, EDM, arXiv:2203.17003), classes of
    atoms and bonds are drawn anew from the law of the data (Vignac et al. 2023, MiDi,
    arXiv:2302.09048); one equivariant network denoises all of them.
    """

    bonds: Literal["predicted", "inferred"] = Field(
        "predicted", description="made by the model, or told by the distances afterwards"
    )

    def model(self, about: Mapping[str, Any]) -> Model:
        classes, orders = len(about["classes"]), ORDERS if self.bonds == "predicted" else 0
        process = MoleculeProcess(classes, orders, about["largest"])
        told = _ranges(about)
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


class Conformers(_Molecules):
    """Shapes of molecules whose atoms and bonds are known.

    Their places alone are noised; atoms and bonds are told to the network (as in Xu et al. 2022,
    GeoDiff, arXiv:2203.02923). Stereo centres are not told: both of their sides are made.
    """

    elements: tuple[str, ...] | None = Field(ORGANIC, description="others are passed over")
    heavy: int | None = Field(9, ge=1, description="heavy atoms of the largest molecule taken")
    fewest: int = Field(FEWEST, ge=1, description="atoms of the smallest molecule taken")

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


class CCD3D(SDF):
    """The demo: the molecules of the wwPDB's Chemical Component Dictionary of few heavy atoms."""

    elements: tuple[str, ...] | None = Field(ORGANIC, description="others are passed over")
    heavy: int | None = Field(9, ge=1, description="heavy atoms of the largest molecule taken")
    fewest: int = Field(FEWEST, ge=1, description="atoms of the smallest molecule taken")


class Latent(_Molecules):
    """Your molecules in space, by diffusion of the latents of an equivariant autoencoder.

    GeoLDM (Xu et al. 2023, arXiv:2305.01140), the encoder stopped early, by default at once, the
    decoder trained beside the diffusion. Bonds are told by the distances.
    """

    latent: int = Field(4, ge=1, le=64, description="numbers of an atom that the encoder says")
    coding_steps: int = Field(0, ge=0, description="steps that the encoder is trained for")

    def model(self, about: Mapping[str, Any]) -> Model:
        process = LatentProcess(about["largest"])
        net = EquivariantNetwork(
            self.latent, self.latent, width=self.width, depth=self.depth, radius=self.radius,
            chiral=self.chiral, vector=2 * len(about["conditions"]),
        )  # fmt: skip
        return Model(
            process=process,
            denoiser=MoleculeDenoiser(net, process, _ranges(about)),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=blank_of(process.sizes),
            codec=PointCodec(len(about["classes"]), self.latent, self.width, self.depth),
            sizing=("atoms",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, LatentProcess) and isinstance(model.codec, PointCodec)
        x = gather(data).x
        model.process.sizes.fill(x["atoms"].counts)
        model.codec.placed.fill(x)
        staged = Staged(model.codec, model.process, model.denoiser, self.coding_steps)
        return Training(staged, data, model)


class Moses(_Reading):
    """Molecules as graphs of bonds, hydrogens left to the valences.

    DiGress (Vignac et al. 2022, arXiv:2209.14734): atoms and bonds are resampled from the law of
    the data, and a graph transformer sees cycles, spectra and valences of the noisy molecule. The
    data is the benchmark MOSES (Polykovskiy et al. 2020, arXiv:1811.12823), or your SMILES.
    """

    dimensions: ClassVar[int] = 2
    known: ClassVar[str | None] = "moses"

    hydrogens: Hydrogens = Field("drop", description="those of the records: keep, add or drop")
    structural: bool = Field(True, description="tell the network cycles, walks, spectra, valences")
    noise: Literal["marginal", "uniform"] = Field(
        "marginal", description="law that noise draws from: of the data, of all classes alike"
    )
    pair_weight: float = Field(5.0, gt=0, description="of the pairs in the loss; atoms have 1")
    width: int = Field(128, ge=8, multiple_of=8, description="channels of an atom")
    pair_width: int = Field(48, ge=4, description="channels of a pair")
    depth: int = Field(6, ge=1, description="blocks of the network")
    heads: int = Field(4, ge=1, description="heads of the attention; they divide the width")
    sampling_steps: int = Field(100, ge=1, description="steps of the sampler")
    steps: int = Field(50_000, ge=1, description="optimiser steps")
    held: float | None = Field(None, ge=0, lt=1, description="share held out; none: the test part")

    def model(self, about: Mapping[str, Any]) -> Model:
        most = most_bonds(about)
        kinds = len(rings.ORDERS)
        atoms, bonds = (torch.full((k,), 1 / k) for k in (len(most), kinds))
        process = GraphProcess(atoms, bonds, about["largest"])
        told = TOLD if self.structural else 0
        net = GraphTransformer(
            len(most), kinds, width=self.width, pair_width=self.pair_width, depth=self.depth,
            heads=self.heads, structural=self.structural, told=told,
            vector=2 * len(about["conditions"]),
        )  # fmt: skip
        denoiser = BondDenoiser(net, process, most, _ranges(about))
        return Model(
            process=process,
            denoiser=denoiser,
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=_unbonded(process.sizes),
            sizing=("atoms",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, GraphProcess)
        some = range(0, len(data), max(1, len(data) // LAWS_OF))
        noise.fill(model.process, gather(data, some).x, _LAWS[self.noise])
        weight = {"nodes": 1.0, "edges": self.pair_weight}
        return Training(Jointly(model.process, model.denoiser, weight), data, model)


def _ranges(about: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Mean and mean absolute deviation of each property that a model is told."""
    return {name: (own["mean"], own["mad"]) for name, own in about["conditions"].items()}


def _unbonded(sizes: Sizes) -> Callable[..., Fields]:
    """Graphs of atoms to be filled, of sizes that are drawn or asked for."""

    def made(n: int, generator: Generator, atoms: Tensor | None = None) -> Fields:
        return graphs.blank(sizes.draw(n, generator, atoms))

    return made


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
