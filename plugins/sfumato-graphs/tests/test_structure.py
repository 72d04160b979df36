"""Orbits against the reference implementation; graphs that are the same are told so."""

from __future__ import annotations

import networkx as nx
import numpy as np
import orbit_count
import torch

from sfumato_data import Batches, alike
from sfumato_data.joining import join
from sfumato_graphs.data import graphs_of
from sfumato_graphs.identity import fingerprint
from sfumato_graphs.orbits import orbit_counts
from sfumato_nn.graphs.state import state_of, take


def test_orbits_are_those_of_orca():
    """Against the reference implementation of Hocevar & Demsar 2014, every orbit of every node."""
    sparse = [nx.gnp_random_graph(20, p, seed=i) for i, p in enumerate((0.1, 0.3, 0.8))]
    for network in [*nx.graph_atlas_g()[4::23], *sparse]:
        if network.number_of_edges() == 0:
            continue  # the reference takes none
        nodes = list(network)
        want = orbit_count.node_orbit_counts(network, graphlet_size=4, node_list=nodes)
        got = orbit_counts(torch.tensor(nx.to_numpy_array(network)))
        assert np.array_equal(got.numpy(), want)


def test_fingerprints_are_equal_for_isomorphic_graphs_and_tell_the_atlas_apart():
    rng = np.random.default_rng(0)
    atlas = nx.graph_atlas_g()[1:]
    for g in atlas:
        nx.set_node_attributes(g, 0, "class")
        nx.set_edge_attributes(g, 1, "class")
    assert len({fingerprint(g) for g in atlas}) == len(atlas)
    for g in atlas[::100]:
        order = dict(zip(g, rng.permutation(len(g)).tolist(), strict=True))
        shuffled = nx.Graph()
        shuffled.add_nodes_from((order[v], d) for v, d in sorted(g.nodes(data=True), reverse=True))
        shuffled.add_edges_from((order[a], order[b], d) for a, b, d in g.edges(data=True))
        assert fingerprint(shuffled) == fingerprint(g)
    square = atlas[100].copy()
    square.nodes[next(iter(square))]["class"] = 1
    assert fingerprint(square) != fingerprint(atlas[100])


def test_graphs_of_several_sizes_keep_their_values_when_they_are_joined():
    sizes = [1, 4, 3]
    graphs = [(torch.arange(n), 10 + torch.arange(n * (n - 1) // 2)) for n in sizes]
    whole = join([state_of([graph]) for graph in graphs])
    assert whole["nodes"].mask.sum(1).tolist() == sizes
    for i, (nodes, edges) in enumerate(graphs):
        found = take(whole, i)
        assert torch.equal(found[0], nodes) and torch.equal(found[1], edges)


def test_batches_hold_graphs_of_like_size():
    """Matrices of all nodes that a batch of 8 pads to: at most 1.1 of the sum of n_i^2."""
    graphs = graphs_of([nx.path_graph(3 + 7 * i % 30) for i in range(128)])
    batches = Batches(graphs, 8, seed=1)
    padded = own = 0
    for step in range(16):
        mask = batches(step).x["nodes"].mask
        padded += len(mask) * mask.shape[1] ** 2
        own += int(mask.sum(1).square().sum())
    assert own == sum(n * n for n in graphs.sizes())
    assert padded < 1.1 * own
    assert alike(graphs) is graphs  # sizes are no groups: all graphs are measured
