import pytest
import torch

from sfumato_nn.layers import convolution, group_norm


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
