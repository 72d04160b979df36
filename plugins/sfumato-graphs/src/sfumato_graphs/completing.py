"""Partial graphs completed: what is known stays, the rest is drawn."""

from __future__ import annotations

__all__ = ["complete", "known"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, Fields, InputError, Known, Padded, random
from sfumato_nn.graphs.state import blank, pair_count
from sfumato_train import Run, draw

from .data import Graph
from .recipes import AutoEncoder, sizes_of


def known(graph: Graph, nodes: Tensor) -> tuple[Fields, Known]:
    """Graphs of so many nodes to be filled, the first of which are those of a graph.

    Known are the classes of its nodes, and of the pairs among them, those without an edge included.

    Args:
        graph: what is known.
        nodes: (n,) of the whole graphs.

    Raises:
        InputError: if a whole is not larger than the part.
    """
    own = len(graph.nodes)
    if (fewest := int(nodes.min())) <= own:
        raise InputError(
            f"{graph.name}: {own} nodes are known, so that a graph of {fewest} leaves nothing to "
            "draw; ask for more nodes"
        )
    empty = blank(nodes)
    counts = {"nodes": own, "edges": pair_count(own)}
    ids = {"nodes": graph.nodes, "edges": graph.edges}
    values, masks = {}, {}
    for name, part in empty.items():
        data, mask = part.data.clone(), torch.zeros_like(part.mask)
        data[:, : counts[name]] = torch.from_numpy(ids[name])
        mask[:, : counts[name]] = True
        values[name], masks[name] = Padded(data, part.mask), Padded(mask, part.mask)
    return empty, Known(Fields(values), Fields(masks))


def complete(
    run: Run, graph: Graph, n: int, *, nodes: Tensor | None = None, **options: Any
) -> Batch:
    """Draw n graphs that contain a graph.

    The known part follows its own noise during sampling (see `Known`), so that this works with
    every sampler but is not a draw from the exact conditional law.

    Args:
        run: of a recipe of graphs.
        graph: what is known, in the classes of the run.
        n: how many.
        nodes: (n,) of the whole graphs; None: drawn from those of the training graphs that are
            larger than the part.
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
    if nodes is None:
        own = len(graph.nodes)
        sizes = sizes_of(run.model(options.get("weights", "ema"), device="cpu"))
        if own >= sizes.largest:
            raise InputError(
                f"{graph.name}: {own} nodes are known, but the model makes graphs of at most "
                f"{sizes.largest}"
            )
        nodes = sizes.draw(n, random.derive(options.get("seed", 0), "sizes"), above=own)
    elif not (smallest <= int(nodes.min()) and int(nodes.max()) <= largest):
        raise InputError(
            f"this model was trained on graphs of {smallest} to {largest} nodes, not "
            f"{int(nodes.min())} to {int(nodes.max())}"
        )
    like, constraint = known(graph, nodes)
    return draw(run, n, like=like, constraint=constraint, **options)
