"""The time shift of masked chains: how many tokens fall in which step."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError, random, run
from sfumato_methods import grids
from sfumato_methods.discrete import (
    CosineKeep,
    Discrete,
    Ordered,
    ShiftedCounts,
    TokenDenoiser,
    TopProbability,
    absorbing,
    token_counts,
)
from sfumato_methods.discrete.kernels import RankOne
from sfumato_methods.discrete.shifting import time_shift


def test_the_shift_is_the_published_map():
    u = torch.linspace(0, 1, 9, dtype=torch.float64)
    assert torch.equal(time_shift(u, 1.0), u)
    back = time_shift(time_shift(u, 1 / 3), 3.0)
    torch.testing.assert_close(back, u, atol=1e-15, rtol=0)
    assert float(time_shift(u, 1 / 3)[4]) == pytest.approx(0.25, abs=1e-15)  # (1/6) / (2/3)
    torch.testing.assert_close(grids.shifted(None, 8), time_shift(u, 1 / 3).flip(0))
    with pytest.raises(InputError, match="a time shift is a positive number"):
        token_counts(4, 2, 0.0)


@pytest.mark.parametrize("shift", [0.05, 1 / 3, 1.0, 3.0])
@pytest.mark.parametrize("tokens", [1, 5, 32, 100])
@pytest.mark.parametrize("steps", [1, 4, 16, 200])
def test_counts_add_up_with_one_at_least(tokens, steps, shift):
    counts = token_counts(tokens, steps, shift)
    assert sum(counts) == tokens and len(counts) == min(tokens, steps) and min(counts) >= 1


def test_counts_are_the_differences_of_the_shifted_time():
    """n = 64 in 4 steps at a third: t' = 0, 1/10, 1/4, 1/2, 1, of which floors are taken."""
    assert token_counts(64, 4, 1 / 3) == [32, 16, 10, 6]
    assert token_counts(64, 4, 3.0) == [64 - 57, 57 - 48, 48 - 32, 32]  # t' = 1/2, 3/4, 9/10
    assert token_counts(64, 4, 1.0) == [16] * 4
    # 10 in 5 at 0.05: floors 0 0 0 1 9, with ones 1 1 1 1 9, of which 3 come off the last
    assert token_counts(10, 5, 0.05) == [6, 1, 1, 1, 1]


@pytest.mark.parametrize("cosine", [False, True], ids=["linear", "cosine"])
def test_so_many_tokens_fall(cosine):
    law = torch.zeros(4, dtype=torch.float64)
    law[3] = 1
    process = Discrete(RankOne(law, CosineKeep())) if cosine else Discrete(absorbing(3))
    net = torch.nn.Embedding(4, 4)
    denoiser = TokenDenoiser(_Calls(net), process)
    x = torch.full((2, 20), 3)
    grid = ShiftedCounts(20)(process, 6)
    assert float(grid[0]) == 1 and float(grid[-1]) == 0 and bool((grid.diff() < 0).all())
    left = [20] + [
        int((frame.after == 3).sum(1)[0])
        for frame in run(
            Ordered(TopProbability()), process, denoiser, x, grid, random.derive(0, "s")
        )
    ]
    assert [a - b for a, b in zip(left, left[1:], strict=False)] == token_counts(20, 6)


class _Calls(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, clock):
        return self.net(x)
