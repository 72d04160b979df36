"""The order of nodes depends on the graph, not on the order that they come in."""

from __future__ import annotations

import networkx as nx
import torch

from sfumato import random
from sfumato_nn.graphs.features import features
from sfumato_nn.graphs.order import order, ordered
from sfumato_nn.graphs.state import blank, dense, pairs


def adjacency(network):
    return torch.from_numpy(nx.to_numpy_array(network, weight=None))


def state_of(matrices):
    x = blank(torch.tensor([len(a) for a in matrices]))
    for row, a in enumerate(matrices):
        smaller, larger = pairs(len(a))
        x["edges"].data[row, : len(smaller)] = a[smaller, larger].long()
    return x


def test_graphs_whose_nodes_all_differ_come_out_the_same_whatever_order_they_come_in():
    tried = 0
    for number, network in enumerate(nx.graph_atlas_g()[200:]):
        a = adjacency(network)
        told = features(a[None], torch.ones(1, len(a), dtype=torch.bool))[0][0].round(decimals=6)
        if len(told.unique(dim=0)) < len(a):
            continue
        shuffle = random.permutation(len(a), random.derive(number, "order"))
        both = ordered(state_of([a, a[shuffle][:, shuffle]]))["edges"].data
        assert torch.equal(both[0], both[1])
        tried += 1
    assert tried > 100


def test_it_stays_the_same_graph_and_padding_stays_behind():
    first, second = nx.gnp_random_graph(7, 0.4, seed=3), nx.path_graph(4)
    x = state_of([adjacency(first), adjacency(second)])
    x["nodes"].data[1, :4] = torch.tensor([5, 6, 7, 8])
    made = ordered(x)
    for row, network in enumerate((first, second)):
        count = len(network)
        a = dense(made["edges"].data, 7)[row, :count, :count].numpy()
        assert nx.is_isomorphic(nx.from_numpy_array(a), network)
        assert torch.equal(made["edges"].mask, x["edges"].mask)
    place = order(dense(x["edges"].data, 7).double(), x["nodes"].mask)
    assert torch.equal(made["nodes"].data[1], x["nodes"].data[1][place[1]])
    assert place[1, 4:].tolist() == [4, 5, 6]


def test_nodes_stand_by_distance_from_the_one_with_most_neighbours():
    """A star of four leaves with a tail of two, and a node apart."""
    network = nx.Graph([(3, 0), (3, 1), (3, 2), (3, 4), (4, 5), (5, 6)])
    network.add_node(7)
    a = torch.from_numpy(nx.to_numpy_array(network, nodelist=range(8)))
    place = order(a[None], torch.ones(1, 8, dtype=torch.bool))[0].tolist()
    assert place == [3, 4, 0, 1, 2, 5, 6, 7]
