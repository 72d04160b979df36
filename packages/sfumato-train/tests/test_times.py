"""The laws of training times, and the stratified uniforms that they are made from."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError, Unsupported, random
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_methods.gaussian import cosine, edm, linear, ve, vp
from sfumato_train import times

PROCESSES = [vp(), ve(), linear(), cosine(), edm()]
GRID = (torch.arange(50_000, dtype=torch.float64) + 0.5) / 50_000


def normal_cdf(z):
    return torch.special.ndtr(z)


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_one_uniform_lies_in_each_cell(count):
    u = times.stratified(count, random.derive(0, count))
    assert u.dtype == torch.float64 and (u >= 0).all() and (u < 1).all()
    assert sorted((u * count).floor().tolist()) == list(range(count))
    assert (u * count).frac().std(correction=0) < 1e-9  # one offset for all


def test_each_place_of_a_batch_is_uniform():
    """Kolmogorov-Smirnov for the first and the last item over 4000 batches.

    Bound 1.95/sqrt(n): false alarm 1e-3 for each of the two; the seed is fixed.
    """
    batches = torch.stack([times.stratified(8, random.derive(1, i)) for i in range(4000)])
    for place in (0, 7):
        u = batches[:, place].sort().values
        gap = (u - (torch.arange(4000) + 0.5) / 4000).abs().max()
        assert gap < 1.95 / 4000**0.5


def test_stratification_lowers_the_variance_of_an_average():
    """The mean of u^2 over 16 items: 4/45/16 when independent, 1/16^2/12 when stratified."""
    means = [times.stratified(16, random.derive(2, i)).square().mean() for i in range(500)]
    assert float(torch.stack(means).var()) == pytest.approx(1 / 16**2 / 12, rel=0.2)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_times_stay_where_noise_and_clock_are_finite(process):
    u = torch.tensor([0.0, 1e-300, 0.5, 1 - 1e-16], dtype=torch.float64)
    for law in (times.uniform, times.logit_normal, times.lognormal):
        t = law(process, u)
        assert (process.sigma(t) > 0).all() and (t <= 1).all()
        ratio = process.logsnr(t) / 2
        assert (ratio.abs() <= 10 + 1e-6).all()
        assert (t.diff() >= 0).all()


def test_uniform_times_are_the_uniforms_themselves():
    assert torch.equal(times.uniform(linear(), GRID[5:-5]), GRID[5:-5])


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.7)])
def test_logit_normal_has_its_published_distribution_function(mean, std):
    t = times.logit_normal(linear(), GRID, mean=mean, std=std)
    assert torch.allclose(normal_cdf((torch.logit(t) - mean) / std), GRID, atol=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_lognormal_has_its_published_distribution_function(process):
    t = times.lognormal(process, GRID)
    level = -0.5 * process.logsnr(t)
    end = -0.5 * float(process.logsnr(torch.ones((), dtype=torch.float64)))
    reached = level < min(end, 10) - 1e-3
    assert reached.float().mean() > 0.999
    expected = normal_cdf((level + 1.2) / 1.2)
    assert torch.allclose(expected[reached], GRID[reached], atol=1e-6)


def test_processes_without_sigma_take_uniform_times():
    process = Discrete(absorbing(5))
    t = times.uniform(process, torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64))
    assert torch.allclose(torch.logit(t).clamp(-11, 11), torch.logit(t)) and t[1] == 0.4
    with pytest.raises(Unsupported, match="lognormal times need AFFINE"):
        times.lognormal(process, GRID)


def test_times_between_two_ends_are_uniform_there():
    t = times.between(0.02, 0.5)(Discrete(absorbing(4)), GRID)
    assert float(t.min()) == pytest.approx(0.02, abs=1e-5)
    assert float(t.max()) == pytest.approx(0.5, abs=1e-5)
    assert torch.allclose(t.diff(), t.diff()[0])
    with pytest.raises(InputError, match="low before high"):
        times.between(0.5, 0.2)
