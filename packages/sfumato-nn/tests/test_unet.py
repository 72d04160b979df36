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


def test_levels_widen_what_an_output_sees_and_attention_sees_all(awake):
    # Group norms look at the whole item; without them only convolutions and attention mix places.
    def net(widths, attention=()):
        made = awake(UNet(1, space=1, widths=widths, blocks=1, attention=attention)).double()
        for name, module in list(made.named_modules()):
            if isinstance(module, torch.nn.GroupNorm):
                parent = made.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], torch.nn.Identity())
        return made

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
