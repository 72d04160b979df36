"""The order of the pairs, and what follows from it."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError
from sfumato_nn.graphs import state


def test_pairs_of_the_first_nodes_come_first():
    smaller, larger = state.pairs(6)
    assert bool((smaller < larger).all()) and len(smaller) == state.pair_count(6) == 15
    for n in range(7):
        first = {(i, j) for i, j in zip(smaller.tolist(), larger.tolist(), strict=True) if j < n}
        those = [a[: state.pair_count(n)].tolist() for a in (smaller, larger)]
        assert first == set(zip(*those, strict=True))
    assert all(larger[j * (j - 1) // 2 + i] == j for j in range(6) for i in range(j))


def test_matrices_are_symmetric_and_hold_each_pair_at_its_place():
    values = torch.arange(1, 11.0).expand(2, 10)
    matrix = state.dense(values, 5)
    assert (
        torch.equal(matrix, matrix.mT) and float(matrix.diagonal(dim1=1, dim2=2).abs().sum()) == 0
    )
    assert matrix[0, 1, 3] == values[0, 3 * 2 // 2 + 1]
    assert matrix.sum() == 2 * values.sum()
    assert state.dense(values[..., None].expand(2, 10, 3), 5).shape == (2, 5, 5, 3)


def test_graphs_of_several_sizes_keep_their_values_when_taken_apart():
    sizes = torch.tensor([1, 4, 3])
    graphs = [(torch.arange(n), 10 + torch.arange(n * (n - 1) // 2)) for n in sizes.tolist()]
    x = state.state_of(graphs)
    assert torch.equal(x["nodes"].mask.sum(1), sizes)
    for i, (nodes, edges) in enumerate(graphs):
        found = state.take(x, i)
        assert torch.equal(found[0], nodes) and torch.equal(found[1], edges)


def test_what_is_no_graph_is_told():
    assert [state.node_count(state.pair_count(n)) for n in range(2, 50)] == list(range(2, 50))
    with pytest.raises(InputError, match="no graph has 4 pairs"):
        state.node_count(4)
    with pytest.raises(InputError, match="at least one node, but 0"):
        state.blank(torch.tensor([3, 0]))
