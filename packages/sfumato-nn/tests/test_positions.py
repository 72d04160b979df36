import math

import pytest
import torch

from sfumato_nn.positions import rotary, rotate, waves


@pytest.mark.parametrize("sizes", [(11,), (4, 3), (2, 3, 4)])
def test_rotary_keeps_lengths_and_sees_only_differences_of_position(noise, sizes):
    dim, count = 26, math.prod(sizes)
    q, k = (noise(1, 1, 1, dim, seed=s).expand(1, count, 1, dim) for s in range(2))
    positions = rotary(sizes, dim)
    q, k = rotate(q, positions)[0, :, 0], rotate(k, positions)[0, :, 0]
    torch.testing.assert_close(q.norm(dim=-1), q[:1].norm(dim=-1).expand(count))
    where = torch.cartesian_prod(*(torch.arange(n) for n in sizes)).view(count, -1)
    seen: dict[tuple[int, ...], float] = {}
    for i in range(count):
        for j in range(count):
            step = tuple((where[i] - where[j]).tolist())
            product = float(q[i] @ k[j])
            assert product == pytest.approx(seen.setdefault(step, product), abs=1e-4)
    assert max(seen.values()) - min(seen.values()) > 0.5


def test_rotary_tells_the_axes_apart():
    cos, _ = rotary((2, 2), 16)
    assert not torch.equal(cos[1], cos[2])


def test_waves_follow_the_formula_and_no_two_places_share_them():
    y = waves((6,), 8)
    speed = 10_000.0 ** (-torch.arange(4) / 4)
    angle = torch.arange(6)[:, None] * speed
    torch.testing.assert_close(y, torch.cat((angle.cos(), angle.sin()), -1))
    grid = waves((4, 5, 3), 24)
    distance = torch.cdist(grid, grid) + torch.eye(60)
    assert distance.min() > 0.5


def test_a_larger_grid_extends_a_smaller_one():
    small, large = waves((3, 4), 16).view(3, 4, 16), waves((5, 6), 16).view(5, 6, 16)
    assert torch.equal(small, large[:3, :4])
