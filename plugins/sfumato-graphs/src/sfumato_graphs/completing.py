"""Partial graphs completed: what is known stays, the rest is drawn."""

from __future__ import annotations

__all__ = ["complete", "known"]

from collections.abc import Mapping
from typing import Any

import torch

from sfumato import Batch, Fields, InputError, Known, Padded
from sfumato_nn.graphs.state import blank, pair_count
from sfumato_train import Run, draw

from .data import Graph
from .recipes import AutoEncoder


def known(graph: Graph, nodes: int, n: int) -> tuple[Fields, Known]:
    """N graphs of so many nodes to be filled, the first of which are those of a graph.

    Known are the classes of its nodes, and of the pairs among them, those without an edge included.

    Args:
        graph: what is known.
        nodes: of the whole graph.
        n: copies.

    Raises:
        InputError: if the whole is not larger than the part.
    """
    own = len(graph.nodes)
    if nodes <= own:
        raise InputError(
            f"{graph.name}: {own} nodes are known, so that a graph of {nodes} leaves nothing to "
            "draw; ask for more nodes"
        )
    empty = blank(torch.full((n,), nodes))
    counts = {"nodes": own, "edges": pair_count(own)}
    ids = {"nodes": graph.nodes, "edges": graph.edges}
    values, masks = {}, {}
    for name, part in empty.items():
        data, mask = part.data.clone(), torch.zeros_like(part.mask)
        data[:, : counts[name]] = torch.from_numpy(ids[name])
        mask[:, : counts[name]] = True
        values[name], masks[name] = Padded(data, part.mask), Padded(mask, part.mask)
    return empty, Known(Fields(values), Fields(masks))


def complete(run: Run, graph: Graph, nodes: int, n: int, **options: Any) -> Batch:
    """Draw n graphs that contain a graph.

    The known part follows its own noise during sampling (see `Known`), so that this works with
    every sampler but is not a draw from the exact conditional law.

    Args:
        run: of a recipe of graphs.
        graph: what is known, in the classes of the run.
        nodes: of the whole graphs, as many as some training graphs have.
        n: how many.
        options: of `sfumato_train.draw`: sampler, steps, seed and so on.

    Raises:
        InputError: if the numbers of nodes do not fit, or the model is one of ordered nodes.
    """
    if isinstance(run.recipe, AutoEncoder) and run.recipe.places:
        raise InputError(
            f"{run.path} tells nodes by their places in an order, which those of a part have not; "
            "train graphs/autoencoder with places=false, or graphs/files"
        )
    about: Mapping[str, Any] = run.about
    smallest, largest = about["smallest"], about["largest"]
    if not smallest <= nodes <= largest:
        raise InputError(
            f"nodes={nodes}: this model was trained on graphs of {smallest} to {largest} nodes"
        )
    like, constraint = known(graph, nodes, n)
    return draw(run, n, like=like, constraint=constraint, **options)
