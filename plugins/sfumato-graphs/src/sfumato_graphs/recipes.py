"""Recipes: discrete diffusion of graphs, from data to sampler."""

from __future__ import annotations

__all__ = ["Atlas", "AutoEncoder", "Files", "Scores", "sizes_of"]

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from sfumato import Ancestral, Dataset, Fields, InputError, Model, Process, registry
from sfumato_data import gather
from sfumato_methods import grids
from sfumato_methods.discrete import graphs as noise
from sfumato_methods.discrete.graphs import GraphProcess
from sfumato_methods.discrete.sizes import Sizes
from sfumato_nn.graphs.encoder import GraphEncoder, PairEncoder
from sfumato_nn.graphs.state import blank
from sfumato_nn.graphs.transformer import GraphDenoiser, GraphTransformer
from sfumato_train import Denoising, Jointly, Recipe, Training

from .autoencoder import PLACES, AutoDenoiser, Autoencoding
from .real import Numbers, RealDenoiser

LAWS = {"marginal": noise.marginal, "uniform": noise.uniform, "absorbing": noise.absorbing}

ENCODERS = {"neighbours": GraphEncoder, "pairs": PairEncoder}

SHOWN = 200
"""Graphs, about, by which the codes of a new encoder are spread."""


def sizes_of(model: Model) -> Sizes:
    """The law of the numbers of nodes of a model of graphs."""
    owner = model.codec if isinstance(model.codec, Numbers) else model.process
    assert isinstance(owner, Numbers | GraphProcess)
    return owner.sizes


def _blank(sizes: Sizes) -> Callable[..., Fields]:
    """Graphs to be filled, of sizes that are drawn or asked for."""

    def made(n: int, generator: Generator, nodes: Tensor | None = None) -> Fields:
        return blank(sizes.draw(n, generator, nodes))

    return made


def _classes(about: Mapping[str, Any]) -> tuple[int, int]:
    """Of nodes and of pairs."""
    return len(about["nodes"]["classes"]), len(about["edges"]["classes"])


class _Graphs(Recipe):
    """What all models of graphs have: classes, and the network."""

    domain: ClassVar[str] = "graphs"

    node: str | None = Field(None, description="attribute whose values are the classes of nodes")
    edge: str | None = Field(None, description="attribute whose values are the classes of edges")
    strict: bool = Field(
        True, description="stop at a graph that is wrong; false: list it in recipe.json, go on"
    )
    label: str | None = Field(
        None, description="attribute of graphs whose values can be asked for, such as label=3"
    )
    properties: tuple[str, ...] = Field(
        (),
        description="numbers that can be asked for, all at once: attributes of graphs, density,"
        " clustering",
    )
    dropout: float = Field(0.1, ge=0, le=1, description="share trained without label and numbers")
    structural: bool = Field(True, description="tell the network cycles, walks and spectra")
    width: int = Field(96, ge=8, multiple_of=8, description="channels of a node")
    pair_width: int = Field(32, ge=4, description="channels of a pair")
    depth: int = Field(4, ge=1, description="blocks of the network")
    heads: int = Field(4, ge=1, description="heads of the attention; they divide the width")
    sampling_steps: int = Field(100, ge=1, description="steps of the sampler")

    batch: int = Field(64, ge=1, description="graphs in each step")
    steps: int = Field(3000, ge=1, description="optimiser steps")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")
    held: float | None = Field(0.2, ge=0, lt=1, description="share of the graphs never trained on")

    def reading(self) -> Mapping[str, Any]:
        return {
            "node": self.node, "edge": self.edge, "label": self.label,
            "properties": self.properties, "strict": self.strict,
        }  # fmt: skip

    def network(
        self, nodes: int, pairs: int, about: Mapping[str, Any], vector: int = 0, told: int = 0
    ) -> GraphTransformer:
        """The network for so many numbers of a node and of a pair, and what it can be told."""
        label, properties = about.get("label"), about.get("properties")
        return GraphTransformer(
            nodes, pairs, width=self.width, pair_width=self.pair_width, depth=self.depth,
            heads=self.heads, structural=self.structural, told=told,
            classes=len(label["classes"]) if label else 0,
            vector=vector or (len(properties["names"]) if properties else 0),
        )  # fmt: skip


class Files(_Graphs):
    """Your own graphs, by discrete diffusion with marginal noise.

    DiGress (Vignac et al. 2022, arXiv:2209.14734): classes of nodes and pairs are resampled from
    the law of the data, a graph transformer sees features of the noisy graph, the loss is the cross
    entropy of nodes plus five times that of pairs.
    """

    noise: Literal["marginal", "uniform", "absorbing"] = Field(
        "marginal", description="law that noise draws from: of the data, of all classes alike, none"
    )
    pair_weight: float = Field(5.0, gt=0, description="of the pairs in the loss; nodes have 1")

    def model(self, about: Mapping[str, Any]) -> Model:
        nodes, edges = _classes(about)
        node_law, edge_law = (torch.full((k,), 1 / k) for k in (nodes, edges))
        process = GraphProcess(node_law, edge_law, about["largest"])
        return Model(
            process=process,
            denoiser=self.denoiser(process, about),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=_blank(process.sizes),
            sizing=("nodes",),
        )

    def denoiser(self, process: GraphProcess, about: Mapping[str, Any]) -> GraphDenoiser:
        """The denoiser for the classes of the data."""
        classes = _classes(about)
        return GraphDenoiser(self.network(*classes, about), process, classes)

    def objective(self, model: Model) -> Jointly:
        """What is trained."""
        return Jointly(model.process, model.denoiser, self.weight, dropout=self.dropout)

    @property
    def weight(self) -> Mapping[str, float]:
        """Of nodes and of pairs in the loss."""
        return {"nodes": 1.0, "edges": self.pair_weight}

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, GraphProcess)
        noise.fill(model.process, gather(data).x, LAWS[self.noise])
        return Training(self.objective(model), data, model)


class Scores(_Graphs):
    """Your own graphs as real numbers, by score matching.

    GDSS (Jo et al. 2022, arXiv:2202.02514) with its predictor and corrector, and, with `process=ve`
    and `sampler=annealed-langevin`, EDP-GNN (Niu et al. 2020, arXiv:2003.00638); here with the
    network of `graphs/files`, preconditioned.
    """

    process: str = Field("vp", description="a registered Gaussian process: vp, ve, edm, linear")
    scale: float = Field(0.5, gt=0, description="root mean square of the numbers, about")
    sampler: str = Field(
        "predictor-corrector", description="a registered sampler; a command may ask for another"
    )
    grid: str = Field("uniform", description="a registered grid; a command may ask for another")

    def noising(self) -> Process:
        """The process."""
        process: Process = registry().load("process", self.process)()
        return process

    def model(self, about: Mapping[str, Any]) -> Model:
        nodes, edges = _classes(about)
        process = self.noising()
        codec = Numbers(nodes, edges, about["largest"])
        net = self.network(nodes, 1, about)
        return Model(
            process=process,
            denoiser=RealDenoiser(net, process, "edm", sigma_data=self.scale),
            sampler=registry().load("sampler", self.sampler)(),
            grid=registry().load("grid", self.grid),
            steps=self.sampling_steps,
            blank=_blank(codec.sizes),
            codec=codec,
            sizing=("nodes",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.codec, Numbers)
        model.codec.sizes.fill(gather(data).x["nodes"].mask.sum(1))
        objective = Denoising(model.process, model.denoiser, model.codec, dropout=self.dropout)
        return Training(objective, data, model)


class Atlas(Files):
    """The demo: all graphs of up to seven nodes."""

    steps: int = Field(2000, ge=1, description="optimiser steps")
    batch: int = Field(128, ge=1, description="graphs in each step")


class AutoEncoder(Files):
    """Your own graphs, by a diffusion model that learns a code of each: `sfumato embed` gives them.

    The code is made of the clean graph by an encoder, and is all that the denoiser is told of it
    besides the noisy one (Wesego 2025, arXiv:2501.13133). One graph in ten is trained without, so
    that samples can be drawn as from any other run.
    """

    code: int = Field(64, ge=1, description="numbers of the code")
    encoder_width: int = Field(
        64, ge=2, multiple_of=2, description="channels of a node in the encoder"
    )
    encoder_depth: int = Field(2, ge=1, description="layers of the encoder")
    places: bool = Field(
        True, description="order the nodes, and tell the denoiser where each stands; see README"
    )
    encoder: Literal["neighbours", "pairs"] = Field(
        "neighbours", description="what the encoder sums over; pairs count cycles, and cost n^3"
    )

    def denoiser(self, process: GraphProcess, about: Mapping[str, Any]) -> AutoDenoiser:
        if "properties" in about:
            raise InputError("graphs/autoencoder tells a code where others are told properties")
        classes = _classes(about)
        encoder = ENCODERS[self.encoder](
            *classes, width=self.encoder_width, depth=self.encoder_depth, length=self.code
        )
        told = PLACES if self.places else 0
        net = self.network(*classes, about, vector=self.code, told=told)
        return AutoDenoiser(net, process, classes, encoder, self.places)

    def objective(self, model: Model) -> Jointly:
        return Autoencoding(model.process, model.denoiser, self.weight, dropout=self.dropout)

    def build(self, data: Dataset) -> Training:
        training = super().build(data)
        assert isinstance(training.model, Model)
        denoiser: Any = training.model.denoiser
        some = range(0, len(data), max(1, len(data) // SHOWN))
        denoiser.encoder.spread(data.batch(some).x)
        return training
