import pytest
import torch

from sfumato_nn.layers import convolution, group_norm, modulated


@pytest.mark.parametrize("width", [1, 2, 6, 7, 30, 34, 36, 64, 96, 128, 192, 1024])
def test_group_norm_fits_every_width(width, noise):
    norm = group_norm(width)
    size = width // norm.num_groups
    assert norm.num_groups <= 32
    assert size >= 4 or norm.num_groups == 1
    grouped = norm(noise(2, width, 9)).unflatten(1, (norm.num_groups, size)).flatten(2)
    torch.testing.assert_close(grouped.mean(-1), torch.zeros(2, norm.num_groups), atol=1e-5, rtol=0)


def test_common_widths_have_many_groups():
    assert [group_norm(width).num_groups for width in (32, 64, 96, 128, 256)] == [8, 16, 24, 32, 32]


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 4, 5])
def test_convolutions_keep_or_halve_the_size_rounded_up(space, size, noise):
    x = noise(1, 2, *[size] * space)
    assert convolution(space, 2, 3)(x).shape == (1, 3, *[size] * space)
    assert convolution(space, 2, 3, stride=2)(x).shape == (1, 3, *[(size + 1) // 2] * space)


@pytest.mark.parametrize("sizes", [(5,), (5, 3), (3, 4, 2)])
@pytest.mark.parametrize("last", [False, True])
def test_modulation_within_the_norm_is_modulation_after_it(sizes, last, noise, awake):
    norm = awake(group_norm(12)).double()
    x = noise(4, 12, *sizes).double() * 3 + 1
    if last:  # channels last in memory
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    inputs = [x, noise(4, 12, seed=2).double(), noise(4, 12, seed=3).double()]
    inputs = [value.requires_grad_() for value in inputs] + [norm.weight, norm.bias]

    def after(x, scale, shift):
        return norm(x) * scale.view(4, 12, *[1] * len(sizes)) + shift.view(4, 12, *[1] * len(sizes))

    within, expected = modulated(norm, *inputs[:3]), after(*inputs[:3])
    torch.testing.assert_close(within, expected)
    weight = noise(*x.shape, seed=4).double()
    found = torch.autograd.grad((within.tanh() * weight).sum(), inputs)
    wanted = torch.autograd.grad((expected.tanh() * weight).sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_modulation_of_no_item_is_none(noise):
    x = modulated(group_norm(8), noise(0, 8, 3), noise(0, 8), noise(0, 8))
    assert x.shape == (0, 8, 3)
