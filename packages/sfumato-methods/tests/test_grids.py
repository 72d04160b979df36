"""Grids: their ends, their order and their published formulas."""

import math

import pytest
import torch

from sfumato import InputError, Unsupported
from sfumato_methods import grids
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear

PROCESSES = [Gaussian(s) for s in (VP(), VE(), Linear(), Cosine(), EDM())]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(
    "grid",
    [grids.uniform, grids.quadratic, grids.cosine, grids.shifted, grids.logsnr, grids.karras],
)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_descends_from_one_to_zero(process, grid, steps):
    times = grid(process, steps)
    assert times.dtype == torch.float64 and times.shape == (steps + 1,)
    assert float(times[0]) == 1 and float(times[-1]) == 0
    assert bool((times.diff() < 0).all())


def test_karras_is_the_published_formula():
    """Karras et al. 2022, arXiv:2206.00364, eq. 5, in the coordinates where sigma = 80 t."""
    n, rho = 9, 7
    i = torch.arange(n, dtype=torch.float64)
    ends = 80 ** (1 / rho), 0.002 ** (1 / rho)
    sigma = (ends[0] + i / (n - 1) * (ends[1] - ends[0])) ** rho
    assert torch.allclose(grids.karras(Gaussian(EDM()), n)[:-1] * 80, sigma, rtol=1e-12)


def test_quadratic_and_cosine_are_the_published_formulas():
    process = Gaussian(VP())
    i = torch.arange(11, dtype=torch.float64)
    assert torch.allclose(grids.quadratic(process, 10), ((10 - i) / 10) ** 2, rtol=0, atol=1e-15)
    cosine = torch.cos(math.pi * i / 20)
    assert torch.allclose(grids.cosine(process, 10), cosine, rtol=0, atol=1e-15)


def test_logsnr_takes_equal_steps():
    process = Gaussian(VE())
    steps = process.logsnr(grids.logsnr(process, 9)[:-1]).diff()
    assert torch.allclose(steps, steps[0].expand_as(steps), rtol=1e-9)
    assert float(process.sigma(grids.logsnr(process, 9)[-2])) == pytest.approx(0.01, rel=1e-9)


def test_a_pyramid_lets_frames_follow_one_another():
    grid = grids.pyramid(steps=4, frames=3, lag=2)
    assert grid.shape == (9, 1, 3)
    assert grid[:, 0, 0].tolist() == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]
    assert grid[:, 0, 2].tolist() == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    alone = grids.pyramid(5, 1)[:, 0, 0]
    assert torch.allclose(alone, grids.uniform(PROCESSES[0], 5), rtol=0, atol=1e-15)


def test_explicit_times_are_checked():
    assert grids.explicit([1, 0.5, 0.5, 0]).tolist() == [1, 0.5, 0.5, 0]
    for wrong in ([1.0], [0.0, 1.0], [1.5, 0.0], [1.0, math.nan]):
        with pytest.raises(InputError):
            grids.explicit(wrong)


def test_what_a_grid_cannot_do_is_named():
    with pytest.raises(InputError, match="at least 1 step"):
        grids.uniform(PROCESSES[0], 0)
    with pytest.raises(InputError, match="sigma_min"):
        grids.karras(PROCESSES[0], 5, sigma_min=100.0)
    with pytest.raises(InputError, match="frames"):
        grids.pyramid(4, 0)
    with pytest.raises(Unsupported, match="karras needs AFFINE.*Use uniform"):
        grids.karras(Discrete(uniform(3)), 5)
