"""Recipes: discrete diffusion of graphs, from data to sampler."""

from __future__ import annotations

__all__ = ["Atlas", "Files"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator

from sfumato import Ancestral, Batch, Dataset, Model
from sfumato_methods import grids
from sfumato_train import Denoising, Loss, Recipe, Training
from sfumato_train import times as laws

from . import process as noise
from .nn import GraphDenoiser, GraphTransformer
from .process import GraphProcess

LAWS = {"marginal": noise.marginal, "uniform": noise.uniform, "absorbing": noise.absorbing}


class Files(Recipe):
    """Your own graphs, by discrete diffusion with marginal noise.

    DiGress (Vignac et al. 2022, arXiv:2209.14734): classes of nodes and pairs are resampled from
    the law of the data, a graph transformer sees features of the noisy graph, the loss is the cross
    entropy of nodes plus five times that of pairs.
    """

    domain: ClassVar[str] = "graphs"

    node: str | None = Field(None, description="attribute whose values are the classes of nodes")
    edge: str | None = Field(None, description="attribute whose values are the classes of edges")
    noise: Literal["marginal", "uniform", "absorbing"] = Field(
        "marginal", description="law that noise draws from: of the data, of all classes alike, none"
    )
    structural: bool = Field(True, description="tell the network cycles, walks and spectra")
    width: int = Field(96, ge=8, multiple_of=8, description="channels of a node")
    pair_width: int = Field(32, ge=4, description="channels of a pair")
    depth: int = Field(4, ge=1, description="blocks of the network")
    heads: int = Field(4, ge=1, description="heads of the attention; they divide the width")
    pair_weight: float = Field(5.0, gt=0, description="of the pairs in the loss; nodes have 1")
    sampling_steps: int = Field(100, ge=1, description="steps of the sampler")

    batch: int = Field(64, ge=1, description="graphs in each step")
    steps: int = Field(3000, ge=1, description="optimiser steps")
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")
    held: float | None = Field(0.2, ge=0, lt=1, description="share of the graphs never trained on")

    def reading(self) -> Mapping[str, Any]:
        return {"node": self.node, "edge": self.edge}

    def model(self, about: Mapping[str, Any]) -> Model:
        nodes, edges = (len(about[side]["classes"]) for side in ("nodes", "edges"))
        process = GraphProcess(
            torch.ones(nodes) / nodes, torch.ones(edges) / edges,
            torch.ones(about["largest"] + 1) / (about["largest"] + 1),
        )  # fmt: skip
        net = GraphTransformer(
            nodes, edges, width=self.width, pair_width=self.pair_width, depth=self.depth,
            heads=self.heads, structural=self.structural,
        )  # fmt: skip
        return Model(
            process=process,
            denoiser=GraphDenoiser(net, process),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=process.blank,
            sizing=("nodes",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, GraphProcess)
        noise.fill(model.process, data, LAWS[self.noise])
        return Training(CrossEntropy(model, self.pair_weight), data, model)


class CrossEntropy(Denoising):
    """Cross entropy of the clean classes, that of pairs weighted."""

    def __init__(self, model: Model, pair_weight: float) -> None:
        super().__init__(model.process, model.denoiser, times=laws.uniform)
        self.pair_weight = pair_weight

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        t = self.times(self.process, laws.stratified(len(batch.x["nodes"].data), generator))
        x, target = self.process.draw(batch.x, t, generator)
        q: Any = self.denoiser(x, t)
        nodes, edges = q["nodes"].loss(target["nodes"]), q["edges"].loss(target["edges"])
        return Loss(
            nodes + self.pair_weight * edges, {"nodes": nodes.detach(), "edges": edges.detach()}
        )


class Atlas(Files):
    """The demo: all graphs of up to seven nodes."""

    steps: int = Field(2000, ge=1, description="optimiser steps")
    batch: int = Field(128, ge=1, description="graphs in each step")
