"""The network of graphs is equivariant, sees no padding, and listens to conditions."""

from __future__ import annotations

import pytest
import torch

from sfumato import Fields, InputError, Maybe, Padded, Process, random
from sfumato_nn.graphs.state import dense, pairs, state_of
from sfumato_nn.graphs.transformer import GraphDenoiser, GraphTransformer


class _Clock(Process):
    """As much of a process as a denoiser asks for."""

    def clock(self, t):
        return {"nodes": t, "edges": t}


def _net(**options):
    torch.manual_seed(0)
    net = GraphTransformer(2, 3, width=16, pair_width=8, depth=2, heads=2, **options).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return GraphDenoiser(net, _Clock(), (2, 3)).output


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
    x = _random([4, 6])
    net = GraphTransformer(2, 3, width=16, pair_width=8, depth=1, heads=2)
    q = GraphDenoiser(net, _Clock(), (2, 3))(x, torch.tensor(0.4).double())
    assert q["nodes"].probs.data.shape == (2, 6, 2) and q["edges"].probs.data.shape == (2, 15, 3)
    assert torch.equal(q["edges"].probs.mask, x["edges"].mask)
    assert torch.allclose(q["nodes"].probs.data[0, :4], torch.full((4, 2), 0.5).double())


def test_conditions_are_heard_by_the_items_that_have_them():
    torch.manual_seed(0)
    net = GraphTransformer(
        2, 3, width=16, pair_width=8, depth=1, heads=2, classes=3, vector=2
    ).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    free, x = GraphDenoiser(net, _Clock(), (2, 3)), _random([5, 5])
    label = Maybe(torch.tensor([1, 1]), torch.tensor([True, False]))
    vector = Maybe(torch.ones(2, 2).double(), torch.tensor([True, False]))
    found, alone = free.given(label=label, vector=vector).output(x, T), free.output(x, T)
    for a, b in zip(found, alone, strict=True):
        assert torch.equal(a[1], b[1]) and not torch.allclose(a[0], b[0], atol=1e-3)
    with pytest.raises(InputError, match="label 3 is out of range"):
        free.given(label=torch.tensor([3, 0]))


def test_numbers_that_are_only_told_do_not_come_out():
    torch.manual_seed(0)
    net = GraphTransformer(2, 1, width=16, pair_width=8, depth=1, heads=2, told=3)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    node, pair, mask = torch.ones(1, 4, 5), torch.zeros(1, 6, 1), torch.ones(1, 4).bool()
    joined, clock = torch.zeros(1, 6).bool(), torch.zeros(1)
    first = net(node, pair, joined, mask, clock)
    assert first[0].shape == (1, 4, 2) and first[1].shape == (1, 6, 1)
    node[..., 4] = 0
    assert not torch.allclose(net(node, pair, joined, mask, clock)[0], first[0], atol=1e-4)
