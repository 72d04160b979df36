"""A network that is shown a source beside its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import InputError
from sfumato_nn.beside import Beside
from sfumato_nn.sizes import unet


class Split(nn.Module):
    """Says how the two halves of its input differ."""

    def forward(self, x, clock, **context):
        a, b = x.chunk(2, 1)
        return a - 2 * b


def test_the_source_stands_behind_the_state():
    net, x, source = Beside(Split()), torch.ones(2, 3, 4), torch.full((2, 3, 4), 0.25).double()
    context = net.encode(source=source)
    assert torch.equal(net(x, torch.zeros(2), **context), x / 2)


def test_other_conditions_are_those_of_the_network():
    net = Beside(unet("tiny", channels=2, out=1, blocks=1, classes=3))
    x, source = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)
    label = torch.tensor([0, 2])
    context = net.encode(source=source, label=label)
    assert set(context) == {"source", "context"}
    told = net(x, torch.zeros(2), **context)
    assert told.shape == x.shape
    assert not torch.equal(told, net(x, torch.zeros(2), **net.encode(source=source)))
    assert not torch.equal(told, net(x, torch.zeros(2), **net.encode(source=x, label=label)))


def test_a_source_that_is_missing_or_does_not_fit_is_told():
    net, x = Beside(Split()), torch.ones(2, 3, 4)
    with pytest.raises(InputError, match="none was given"):
        net.encode(label=torch.tensor([1, 2]))
    with pytest.raises(InputError, match="none was given"):
        net(x, torch.zeros(2))
    for wrong in (x[:1], x[..., :2]):
        with pytest.raises(InputError, match="does not lie beside"):
            net(x, torch.zeros(2), source=wrong)
