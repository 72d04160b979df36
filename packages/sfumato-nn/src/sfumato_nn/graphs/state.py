"""The state of undirected graphs: ids of nodes, and ids of unordered pairs of nodes.

A graph of n nodes has n (n - 1) / 2 pairs. They stand in the order (0, 1), (0, 2), (1, 2), (0, 3),
and so on by their larger node, so that the pairs of the first n nodes are the first n (n - 1) / 2
whatever comes after them: padding with nodes pads the pairs at their end. What is not stored twice
cannot disagree: noise, draws and likelihoods of pairs need no symmetrising.
"""

from __future__ import annotations

__all__ = ["blank", "dense", "node_count", "pair_count", "pairs", "state_of", "take"]

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato import Fields, InputError, Padded


def pair_count(nodes: int) -> int:
    """Unordered pairs of so many nodes."""
    return nodes * (nodes - 1) // 2


def node_count(pairs: int) -> int:
    """Nodes that have so many unordered pairs.

    Raises:
        InputError: if no number of nodes has.
    """
    nodes = (1 + math.isqrt(1 + 8 * pairs)) // 2
    if pair_count(nodes) != pairs:
        raise InputError(f"no graph has {pairs} pairs of nodes; accepted are 0, 1, 3, 6, 10, ...")
    return nodes


def pairs(nodes: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """(smaller, larger): the two nodes of each pair, long, in the order of the state."""
    larger, smaller = torch.tril_indices(nodes, nodes, -1, device=device).unbind(0)
    return smaller, larger


def blank(sizes: Tensor, largest: int | None = None) -> Fields:
    """Graphs of these sizes (B,), all ids 0; padded to `largest` nodes, by default their largest.

    Raises:
        InputError: for a graph without nodes.
    """
    if bool((sizes < 1).any()):
        raise InputError(f"a graph has at least one node, but {int(sizes.min())} were asked for")
    most = int(sizes.max()) if largest is None else largest
    nodes = torch.arange(most, device=sizes.device) < sizes[:, None]
    own = sizes * (sizes - 1) // 2
    edges = torch.arange(pair_count(most), device=sizes.device) < own[:, None]
    return Fields(
        nodes=Padded(torch.zeros_like(nodes, dtype=torch.long), nodes),
        edges=Padded(torch.zeros_like(edges, dtype=torch.long), edges),
    )


def state_of(graphs: Sequence[tuple[Tensor, Tensor]]) -> Fields:
    """Graphs as one state.

    Args:
        graphs: (ids of the n nodes, ids of their pairs) of each, long.
    """
    state = blank(torch.tensor([len(nodes) for nodes, _ in graphs]))
    for name, column in (("nodes", 0), ("edges", 1)):
        part = state[name]
        part.data[part.mask] = torch.cat([graph[column] for graph in graphs])
    return state


def take(state: Fields, item: int) -> tuple[Tensor, Tensor]:
    """(ids of the nodes, ids of the pairs) of one graph, without padding."""
    nodes, edges = state["nodes"], state["edges"]
    return nodes.data[item][nodes.mask[item]], edges.data[item][edges.mask[item]]


def dense(values: Tensor, nodes: int) -> Tensor:
    """Values of pairs (..., P, *rest) as symmetric matrices (..., N, N, *rest), 0 on the diagonal.

    Args:
        values: whatever stands at the pairs; its second dimension is that of the pairs.
        nodes: N.
    """
    smaller, larger = pairs(nodes, values.device)
    out = values.new_zeros((len(values), nodes, nodes, *values.shape[2:]))
    out[:, smaller, larger] = values
    out[:, larger, smaller] = values
    return out
