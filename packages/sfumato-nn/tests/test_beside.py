"""Networks that are shown a source beside their input."""

import pytest
import torch

from sfumato import InputError
from sfumato_nn.beside import Beside
from sfumato_nn.dit import DiT
from sfumato_nn.unet import UNet


def nets():
    return [
        Beside(UNet(3, out=2, widths=(8, 16), blocks=1, classes=3)),
        Beside(DiT(3, out=2, width=24, depth=1, heads=2, classes=3)),
    ]


@pytest.mark.parametrize("kind", [0, 1], ids=["unet", "dit"])
def test_the_source_is_further_channels_of_the_input(kind, noise, awake):
    net = awake(nets()[kind])
    x, source, clock = noise(2, 2, 6, 6), noise(2, 1, 6, 6, seed=1), torch.zeros(2)
    label = torch.tensor([0, 2])
    y = net(x, clock, **net.encode(source=source, label=label))
    inner = net.net(torch.cat([x, source], 1), clock, **net.net.encode(label=label))
    assert y.shape == x.shape and torch.equal(y, inner)
    assert torch.equal(net(x, clock, **net.encode(source=source)), net(x, clock, source))
    assert not torch.allclose(y, net(x, clock, **net.encode(source=source.flip(0), label=label)))


def test_it_does_not_go_without_a_source_or_with_another_size(noise):
    net, x = nets()[0], noise(2, 2, 6, 6)
    with pytest.raises(InputError, match="none was given"):
        net(x, torch.zeros(2), **net.encode(label=torch.tensor([0, 1])))
    with pytest.raises(InputError, match="none was given"):
        net(x, torch.zeros(2))
    for shape in ((2, 1, 6, 5), (1, 1, 6, 6)):
        with pytest.raises(InputError, match="does not lie beside"):
            net(x, torch.zeros(2), noise(*shape))
