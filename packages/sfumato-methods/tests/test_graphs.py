"""The process of graphs keeps the laws of the kit; its laws and sizes are those of the data."""

from __future__ import annotations

import pytest
import torch

from sfumato import Fields, InputError, Padded, random
from sfumato_methods.discrete import graphs as noise
from sfumato_methods.discrete.sizes import Sizes
from sfumato_testing import Case, checks


def _state():
    """Two graphs, of three nodes and of two."""
    nodes = torch.tensor([[True] * 3, [True, True, False]])
    edges = torch.tensor([[True] * 3, [True, False, False]])
    return Fields(
        nodes=Padded(torch.tensor([[0, 1, 1], [1, 0, 0]]), nodes),
        edges=Padded(torch.tensor([[0, 2, 1], [2, 0, 0]]), edges),
    )


def _process(law=noise.marginal):
    nodes, edges = (law(torch.tensor(c).double()) for c in ([3.0, 5.0], [6.0, 2.0, 1.0]))
    return noise.GraphProcess(nodes, edges, 3)


@checks(
    Case(_process(), _state(), frames=False, name="marginal"),
    Case(_process(noise.uniform), _state(), frames=False, name="uniform"),
    Case(_process(noise.absorbing), _state(), frames=False, name="absorbing"),
)
def test_conformance(case, check):
    check(case)


@pytest.mark.parametrize(
    ("law", "want"),
    [
        (noise.marginal, ([2 / 5, 3 / 5], [1 / 4, 1 / 4, 1 / 2])),
        (noise.uniform, ([1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3])),
        (noise.absorbing, ([1, 0], [1, 0, 0])),
    ],
    ids=["marginal", "uniform", "absorbing"],
)
def test_laws_and_sizes_are_those_of_the_training_data_and_not_of_its_padding(law, want):
    process = noise.GraphProcess(torch.ones(2) / 2, torch.ones(3) / 3, 4)
    noise.fill(process, _state(), law)
    for name, shares in zip(("nodes", "edges"), want, strict=True):
        found = process.part(name).kernel.limit()
        assert torch.allclose(found, torch.tensor(shares, dtype=torch.float64), atol=1e-15, rtol=0)
    assert process.sizes.shares.tolist() == [0, 0, 0.5, 0.5, 0]


def test_sizes_are_drawn_by_their_shares_or_are_as_asked_for():
    sizes = Sizes(7)
    sizes.fill(torch.tensor([3] * 3 + [7]))
    drawn = sizes.draw(4000, random.derive(0, "sizes"))
    assert set(drawn.tolist()) == {3, 7}
    deviation = (0.25 * 0.75 / 4000) ** 0.5
    assert abs(float((drawn == 7).double().mean()) - 0.25) < 5 * deviation  # false alarm 6e-7
    assert sizes.largest == 7 and set(sizes.draw(50, random.derive(0), above=3).tolist()) == {7}
    with pytest.raises(InputError, match="no size above 7 can be drawn, the largest is 7"):
        sizes.draw(1, random.derive(0), above=7)
    asked = torch.tensor([2, 5, 1])
    assert torch.equal(sizes.draw(3, random.derive(0, "sizes"), asked), asked)
