"""The process keeps the laws of the kit; the network is equivariant."""

from __future__ import annotations

import pytest
import torch

from sfumato import Dirac, Fields, Padded, random
from sfumato_graphs import process as noise
from sfumato_graphs.data import demo
from sfumato_graphs.nn import GraphDenoiser, GraphTransformer
from sfumato_graphs.state import dense, pairs, state_of
from sfumato_testing import Case, checks

X0 = state_of(
    [
        (torch.tensor([0, 1, 1]), torch.tensor([0, 2, 1])),
        (torch.tensor([1, 0]), torch.tensor([2])),
    ]
)


def _process(law=noise.marginal):
    nodes, edges = (law(torch.tensor(c).double()) for c in ([3.0, 5.0], [6.0, 2.0, 1.0]))
    return noise.GraphProcess(nodes, edges, 3)


@checks(
    Case(_process(), X0, frames=False, name="marginal"),
    Case(_process(noise.uniform), X0, frames=False, name="uniform"),
    Case(_process(noise.absorbing), X0, frames=False, name="absorbing"),
)
def test_conformance(case, check):
    check(case)


def _net(**options):
    torch.manual_seed(0)
    net = GraphTransformer(2, 3, width=16, pair_width=8, depth=2, heads=2, **options).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return GraphDenoiser(net, _process(), (2, 3)).output


T = torch.tensor([0.3, 0.7]).double()


def _random(sizes, seed=0):
    generator = random.derive(seed, "graphs")
    return state_of(
        [
            (
                random.integers(0, 2, (n,), generator),
                random.integers(0, 3, (n * (n - 1) // 2,), generator),
            )
            for n in sizes
        ]
    )


@pytest.mark.parametrize("structural", [True, False])
def test_permuting_the_nodes_permutes_what_comes_out(structural):
    net, n = _net(structural=structural), 6
    x = _random([n, n])
    nodes, edges = net(x, T)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    smaller, larger = pairs(n)
    matrix = dense(x["edges"].data, n)[:, order][:, :, order]
    moved = Fields(
        nodes=Padded(x["nodes"].data[:, order], x["nodes"].mask),
        edges=Padded(matrix[:, smaller, larger], x["edges"].mask),
    )
    found = net(moved, T)
    assert torch.allclose(found[0], nodes[:, order], atol=1e-10)
    want = dense(edges, n)[:, order][:, :, order][:, smaller, larger]
    assert torch.allclose(found[1], want, atol=1e-10)
    assert float(edges.detach().std()) > 1e-3  # it is not constant


def test_padding_and_neighbours_are_never_seen():
    net = _net()
    together = _random([3, 7])
    nodes, edges = net(together, T)
    spoiled = Fields(
        nodes=Padded(
            torch.where(together["nodes"].mask, together["nodes"].data, 1), together["nodes"].mask
        ),
        edges=Padded(
            torch.where(together["edges"].mask, together["edges"].data, 2), together["edges"].mask
        ),
    )
    other = net(spoiled, T)
    assert torch.equal(other[0][0, :3], nodes[0, :3]) and torch.equal(other[1][0, :3], edges[0, :3])
    alone = _random([3, 7])
    small = Fields(
        nodes=Padded(alone["nodes"].data[:1, :3], alone["nodes"].mask[:1, :3]),
        edges=Padded(alone["edges"].data[:1, :3], alone["edges"].mask[:1, :3]),
    )
    found = net(small, T[:1])
    assert torch.allclose(found[0][0], nodes[0, :3], atol=1e-10)
    assert torch.allclose(found[1][0], edges[0, :3], atol=1e-10)


def test_the_denoiser_returns_classes_of_every_node_and_pair():
    process, x = _process(), _random([4, 6])
    net = GraphTransformer(2, 3, width=16, pair_width=8, depth=1, heads=2)
    q = GraphDenoiser(net, process, (2, 3))(x, torch.tensor(0.4).double())
    assert q["nodes"].probs.data.shape == (2, 6, 2) and q["edges"].probs.data.shape == (2, 15, 3)
    assert torch.equal(q["edges"].probs.mask, x["edges"].mask)
    step = process.transition(q, x, torch.tensor(0.4).double(), torch.tensor(0.2).double())
    assert not isinstance(step["edges"], Dirac)


def test_laws_and_sizes_are_those_of_the_training_data():
    data = demo()
    process = noise.GraphProcess(torch.ones(1), torch.ones(2) / 2, 7)
    noise.fill(process, data, noise.marginal)
    pairs_in_all = sum(len(g.edges) for g in data.graphs)
    share = sum(int(g.edges.sum()) for g in data.graphs) / pairs_in_all
    law = process.part("edges").kernel.limit()
    assert torch.allclose(law, torch.tensor([1 - share, share]).double())
    assert float(process.sizes.shares[7]) == 1044 / 1252  # graphs with seven nodes in the atlas
    drawn = process.sizes.blank(2000, random.derive(0, "sizes"))["nodes"].mask.sum(1)
    assert abs(float((drawn == 7).double().mean()) - 1044 / 1252) < 5 * 0.0084  # 5 s.d., 6e-7
    asked = process.sizes.blank(3, random.derive(0, "sizes"), torch.tensor([2, 5, 1]))
    assert asked["nodes"].mask.sum(1).tolist() == [2, 5, 1]
