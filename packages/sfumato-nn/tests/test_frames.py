import pytest
import torch

from sfumato import InputError, Padded, Unsupported
from sfumato_nn.dit import DiT
from sfumato_nn.frames import FramesFirst
from sfumato_nn.unet import UNet


def test_it_is_the_network_with_two_axes_exchanged(noise, awake):
    net = awake(UNet(2, space=3, widths=(8,), blocks=1, classes=3))
    x, clock, label = noise(2, 4, 2, 3, 5), noise(2, seed=2), torch.tensor([0, 2])
    context = net.encode(label=label)
    y = FramesFirst(net)(x, clock, **FramesFirst(net).encode(label=label))
    assert torch.equal(y, net(x.transpose(1, 2), clock, **context).transpose(1, 2))


@pytest.mark.parametrize("rest", [(), (2, 3)])
def test_padded_frames_change_nothing(noise, awake, rest):
    patch = (1, *(1 for _ in rest))
    net = awake(DiT(2, space=1 + len(rest), patch=patch, width=24, depth=2, heads=2))
    net = FramesFirst(net)
    data, clock = noise(2, 5, 2, *rest), noise(2, 5, seed=2)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    y = net(Padded(data, mask), clock)
    assert isinstance(y, Padded)
    assert torch.equal(y.mask, mask)
    alone = net(data[1:, :3], clock[1:, :3])
    torch.testing.assert_close(y.data[1:, :3], alone, atol=1e-5, rtol=1e-5)
    assert y.data[1, 3:].eq(0).all()


def test_what_does_not_fit_is_refused(noise):
    sequence = FramesFirst(DiT(2, space=1, patch=1, width=8, heads=1, depth=1))
    with pytest.raises(InputError, match=r"needs a mask of this shape, got \(2, 5, 5\)"):
        sequence(Padded(noise(2, 5, 2), torch.ones(2, 5, 5).bool()), torch.zeros(2))
    with pytest.raises(InputError, match=r"frames and channels.*\(2, 5\)"):
        sequence(noise(2, 5), torch.zeros(2))
    flat = FramesFirst(UNet(2, space=1, widths=(8,)))
    with pytest.raises(Unsupported, match="UNet cannot skip padding; use a DiT"):
        flat(Padded(noise(2, 5, 2), torch.ones(2, 5).bool()), torch.zeros(2))
