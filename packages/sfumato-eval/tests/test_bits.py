"""Bits per dimension: exact discrete laws, quantised densities, and the Jacobian of the scaling."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import InputError, Normal, elbo, random
from sfumato.state import item_count
from sfumato_eval import bits_per_dim, dequantise
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_testing import DiagonalMixture, Enumerated, Factorised


def z_of(values: torch.Tensor, mean: float) -> float:
    return float((values.mean() - mean) / (values.std() / math.sqrt(len(values))))


def test_enumerable_laws_give_their_entropy():
    """Eight equal states of three binary numbers are one bit each, an uneven coin its entropy."""
    states = torch.tensor([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    law = Enumerated(states, [1 / 8] * 8)
    bits = bits_per_dim(law.nll(states), item_count(states))
    assert bits.dtype == torch.float64 and torch.allclose(bits, torch.ones(8).double())
    coin = Factorised(torch.zeros(1, 5, dtype=torch.long), torch.tensor([0.9, 0.1]).double())
    drawn = coin.sample(20_000, random.derive(0, "coins"))
    entropy = -0.9 * math.log2(0.9) - 0.1 * math.log2(0.1)
    assert abs(z_of(bits_per_dim(coin.nll(drawn), 5), entropy)) < 4.5  # 7 in a million seeds


@pytest.mark.parametrize("step", [1.0, 2 / 255, 1 / 65535])
def test_a_density_that_is_flat_in_each_cell_gives_the_exact_bits(step):
    """p_k / step on the cell of level k: bits -log2 p_k, wherever in the cell, at any step."""
    probs = torch.tensor([0.5, 0.25, 0.2, 0.05]).double()
    levels = random.integers(0, 4, (500, 6), random.derive(1, "levels"))
    x = dequantise(levels.double() * step - 1, step, random.derive(2, "noise"))
    cells = ((x + 1) / step).round().long().clamp(0, 3)
    assert torch.equal(cells, levels) and (x - (levels * step - 1)).abs().max() > 0.49 * step
    nll = -(probs[cells] / step).log().sum(1)
    expected = -probs[levels].log2().mean(1)
    assert torch.allclose(bits_per_dim(nll, 6, step), expected, rtol=0, atol=1e-9)


def test_a_fine_gaussian_gives_the_bits_of_its_levels():
    """Step 0.02 of deviation 0.5: the bound of dequantisation is tight to step^2; |z| < 4.5."""
    step, std, dims = 0.02, 0.5, 8
    law = Normal(torch.zeros(4000, dims).double(), std)
    levels = (law.sample(random.derive(3, "x")) / step).round() * step
    edges = [torch.distributions.Normal(0, std).cdf(levels + h * step) for h in (0.5, -0.5)]
    exact = -(edges[0] - edges[1]).log2().mean(1)
    bits = bits_per_dim(law.nll(dequantise(levels, step, random.derive(4, "noise"))), dims, step)
    assert abs(z_of(bits - exact, step**2 / (24 * std**2 * math.log(2)))) < 4.5
    coarse = 4 * std  # far too coarse for a density: there the bound is loose, from above
    levels = (law.sample(random.derive(5, "x")) / coarse).round() * coarse
    edges = [torch.distributions.Normal(0, std).cdf(levels + h * coarse) for h in (0.5, -0.5)]
    moved = dequantise(levels, coarse, random.derive(6, "noise"))
    gap = bits_per_dim(law.nll(moved), dims, coarse) + (edges[0] - edges[1]).log2().mean(1)
    assert z_of(gap, 0) > 20


def test_scaling_the_data_changes_no_bits_if_the_step_is_scaled_with_it():
    x = random.normal(torch.empty(50, 3, 4, dtype=torch.float64), random.derive(7, "x"))
    for scale in (0.5, 127.5):
        one = bits_per_dim(Normal(torch.zeros_like(x), 1.0).nll(x), item_count(x), 2 / 255)
        law = Normal(torch.zeros_like(x), scale)
        two = bits_per_dim(law.nll(scale * x), item_count(x), 2 / 255 * scale)
        assert torch.allclose(one, two, rtol=0, atol=1e-9)


def test_the_bound_of_an_exact_denoiser_is_the_bits_of_its_target():
    """With one Gaussian the transition laws are exact, so the bound is right on average."""
    target, step = DiagonalMixture(torch.zeros(1, 2).double(), [0.3], [0.6]), 2 / 255
    process = linear()
    x = target.sample(1500, random.derive(8, "x"))
    bound = elbo(process, target.denoiser(process), x, uniform(process, 6), random.derive(9, "t"))
    gap = bits_per_dim(bound, 2, step) - bits_per_dim(target.nll(x), 2, step)
    assert abs(z_of(gap, 0)) < 4.5


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="D > 0 in each item"):
        bits_per_dim(torch.ones(2), torch.tensor([3, 0]))
    for step in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="between levels must be positive"):
            bits_per_dim(torch.ones(2), 3, step)
