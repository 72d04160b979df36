import pytest
import torch

from sfumato import InputError
from sfumato_nn.unet import UNet


def test_a_clock_per_frame_is_refused_with_the_way_out():
    net = UNet(1, widths=(8,))
    with pytest.raises(InputError, match=r"no clock per frame, use a DiT, got \(2, 4\)"):
        net(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4))


def reach(net, size, at):
    """Places of the input that the output at one place depends on."""
    x = torch.randn(1, 1, size, generator=torch.Generator().manual_seed(0)).double()
    x.requires_grad_()
    net(x, torch.zeros(()))[0, 0, at].backward()
    return x.grad[0, 0].abs() > 0


def test_levels_widen_what_an_output_sees_and_attention_sees_all(awake, monkeypatch):
    # Group norms look at the whole item; without them only convolutions and attention mix places.
    monkeypatch.setattr(torch.nn.functional, "group_norm", lambda x, *norm: x)

    def net(widths, attention=()):
        return awake(UNet(1, space=1, widths=widths, blocks=1, attention=attention)).double()

    flat, deep = reach(net((8,)), 65, 32), reach(net((8, 8, 8)), 65, 32)
    assert flat.nonzero().flatten().tolist() == list(range(32 - 4, 32 + 5))
    assert flat.sum() < deep.sum() < 65
    assert reach(net((8, 8, 8), (2,)), 65, 32).all()


def test_fine_detail_passes_beside_the_coarse_levels(noise, awake):
    net = awake(UNet(1, widths=(8, 8, 8)))
    for layer in net.shrink:
        torch.nn.init.zeros_(layer.weight)
    x = noise(1, 1, 6, 6).requires_grad_()
    net(x, torch.zeros(())).square().sum().backward()
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "at least one level"),
        ({"widths": (8, 0)}, "at least one level"),
        ({"blocks": 0}, "0 blocks"),
        ({"attention": (2,)}, "attention at level 2, but the levels are 0 to 1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        UNet(1, **options)


def test_channels_last_in_memory_changes_nothing(noise, awake):
    net = awake(UNet(4, widths=(8, 16), blocks=1, attention=(1,), head=8, classes=3)).double()
    x, clock = noise(3, 4, 6, 5).double(), noise(3)
    context = net.encode(label=torch.tensor([0, 2, 1]))["context"].detach()
    weights = list(net.parameters())

    def outcome(x):
        x = x.requires_grad_()
        y = net(x, clock, context)
        loss = (y * noise(*y.shape, seed=5)).sum()
        return [y, *torch.autograd.grad(loss, [x, *weights], allow_unused=True)]

    plain = outcome(x.clone())
    last = x.clone(memory_format=torch.channels_last)
    net.to(memory_format=torch.channels_last)
    for one, other in zip(outcome(last), plain, strict=True):
        torch.testing.assert_close(one, other)


def test_no_item_gives_no_item(awake):
    net = awake(UNet(2, widths=(8, 16), blocks=1, attention=(1,), head=8))
    assert net(torch.zeros(0, 2, 4, 4), torch.zeros(0)).shape == (0, 2, 4, 4)
