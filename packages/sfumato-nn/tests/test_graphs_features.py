"""Cycles and features against enumeration and known spectra; their symmetry."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from sfumato_nn.graphs import features

SOME = [g for g in nx.graph_atlas_g()[1:] if len(g) == 7][::40]
DENSE = [nx.gnp_random_graph(9, 0.5, seed=i) for i in range(3)]


@pytest.mark.parametrize("network", [*SOME, *DENSE], ids=str)
def test_cycles_are_those_that_a_search_finds(network):
    through, whole = features.cycles(torch.tensor(nx.to_numpy_array(network))[None])
    found = list(nx.simple_cycles(network, length_bound=6))
    assert whole[0].tolist() == [sum(len(c) == k for c in found) for k in (3, 4, 5, 6)]
    assert through[0].tolist() == [
        [sum(len(c) == k and v in c for c in found) for k in (3, 4, 5)] for v in network
    ]


def _batch():
    networks = [*SOME[:3], nx.path_graph(3), nx.empty_graph(1)]
    most = max(map(len, networks))
    adjacency = torch.zeros(len(networks), most, most)
    for a, g in zip(adjacency, networks, strict=True):
        a[: len(g), : len(g)] = torch.tensor(nx.to_numpy_array(g))
    mask = torch.arange(most) < torch.tensor([len(g) for g in networks])[:, None]
    return adjacency, mask


def test_features_follow_the_nodes_and_do_not_see_padding():
    adjacency, mask = _batch()
    nodes, pairs, graph = features.features(adjacency, mask)
    assert (nodes.shape[-1], pairs.shape[-1], graph.shape[-1]) == (
        features.NODE, features.PAIR, features.GRAPH,
    )  # fmt: skip
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    moved = features.features(adjacency[:3][:, order][:, :, order], mask[:3])
    assert torch.allclose(moved[0], nodes[:3][:, order], atol=1e-10)
    assert torch.allclose(moved[1], pairs[:3][:, order][:, :, order], atol=1e-10)
    assert torch.allclose(moved[2], graph[:3], atol=1e-8)
    alone = features.features(adjacency[3:4, :3, :3], mask[3:4, :3])
    assert torch.allclose(alone[0][0], nodes[3, :3], atol=1e-10)
    assert torch.allclose(alone[2][0], graph[3], atol=1e-8)


def test_the_spectrum_tells_components_and_eigenvalues():
    networks = [nx.disjoint_union(nx.complete_graph(3), nx.path_graph(2)), nx.cycle_graph(5)]
    adjacency = torch.tensor(np.stack([nx.to_numpy_array(g) for g in networks]))
    _, _, graph = features.features(adjacency, torch.ones(2, 5, dtype=torch.bool))
    eigenvalues = features.EIGENVALUES
    assert torch.allclose(graph[:, -eigenvalues - 1], torch.tensor([2 / 5, 1 / 5]).double())
    cycle = 1 - np.cos(2 * np.pi * np.array([1, 1, 2, 2]) / 5)
    assert np.allclose(graph[1, -eigenvalues:-1], np.sort(cycle))
