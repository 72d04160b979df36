"""Objects of PyTorch Geometric, there and back, also by its own conversions; what is refused."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.utils import from_networkx, to_networkx

from sfumato import InputError
from sfumato_graphs import data
from sfumato_graphs.pyg import from_pyg, to_pyg

NETWORKS = [nx.path_graph(4), nx.cycle_graph(5), nx.empty_graph(2)]


def _classed(network):
    for v in network:
        network.nodes[v]["atom"] = v % 3
    for a, b in network.edges:
        network.edges[a, b]["order"] = (a + b) % 2 + 1
    return network


def test_their_conversion_of_a_networkx_graph_is_read_as_the_graph():
    found = from_pyg([from_networkx(network) for network in NETWORKS])
    assert all(nx.utils.graphs_equal(nx.Graph(a.edges), nx.Graph(b.edges)) for a, b in
               zip(found, NETWORKS, strict=True))  # fmt: skip
    assert [len(g) for g in found] == [4, 5, 2]


def test_a_state_goes_there_and_back_with_its_classes():
    graphs = data.graphs_of([_classed(n.copy()) for n in NETWORKS], node="atom", edge="order")
    x = graphs.batch(range(3)).x
    batch = to_pyg(x, graphs.about)
    assert batch.num_graphs == 3 and batch.x.shape == (11, 3) and batch.edge_attr.shape == (16, 2)
    assert batch.is_undirected() and not batch.has_self_loops()
    back = data.graphs_of(from_pyg(batch), node="x", edge="edge_attr")
    again = back.batch(range(3)).x
    for name in ("nodes", "edges"):
        assert torch.equal(again[name].data, x[name].data)
        assert torch.equal(again[name].mask, x[name].mask)
    theirs = to_networkx(batch[0], to_undirected=True)
    assert nx.utils.graphs_equal(nx.Graph(theirs.edges), nx.Graph(NETWORKS[0].edges))


def test_whole_numbers_and_labels_are_read():
    one = Data(x=torch.tensor([[1], [0]]), edge_index=torch.tensor([[0, 1], [1, 0]]), y=3)
    one.y, one.edge_attr = torch.tensor([3]), torch.tensor([7, 7])
    (network,) = from_pyg(one)
    assert network.graph["label"] == 3
    assert network.nodes[0]["x"] == 1 and network.edges[0, 1]["edge_attr"] == 7
    (bare,) = from_pyg(one, node=None, edge=None)
    assert not bare.nodes[0] and not bare.edges[0, 1]


EDGE = torch.tensor([[0, 1], [1, 0]])
BROKEN = {
    "directed": (Data(edge_index=EDGE[:, :1], num_nodes=2), "from 0 to 1 but none like it from 1"),
    "another class back": (
        Data(edge_index=EDGE, edge_attr=torch.tensor([1, 2]), num_nodes=2), "but none like it"
    ),
    "twice": (Data(edge_index=EDGE.repeat(1, 2), num_nodes=2), "several edges between two nodes"),
    "beyond": (Data(edge_index=EDGE + 1, num_nodes=2), "an edge from 1 to 2, but 2 nodes"),
    "numbers": (Data(x=torch.rand(2, 3), edge_index=EDGE), r"x of shape \(2, 3\) gives no classes"),
    "hetero": (HeteroData(), "graph 0 is a HeteroData"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_graph_of_ours_is_told(name):
    source, said = BROKEN[name]
    with pytest.raises(InputError, match=said):
        from_pyg([source])


def test_loops_are_told_by_the_data_set():
    loop = Data(edge_index=torch.tensor([[0, 0, 1], [0, 1, 0]]), num_nodes=2)
    with pytest.raises(InputError, match="from a node to itself"):
        data.graphs_of(from_pyg(Batch.from_data_list([loop])))
