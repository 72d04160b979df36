"""Image to image: the closed-form law on Gaussian data, and its two ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sfumato import Affine, Ancestral, Denoiser, InputError, Model, Normal
from sfumato_images.vary import vary
from sfumato_methods.gaussian import linear, vp
from sfumato_methods.grids import uniform
from sfumato_methods.solvers import DDIM
from sfumato_train import draw

MEAN, VARIANCE, SOURCE = -0.2, 0.03, 0.4


class Pixels(Denoiser):
    """The exact posterior of independent pixels, N(MEAN, VARIANCE) each."""

    def __init__(self, process):
        super().__init__()
        self.process = process

    def law(self, t):
        """(gain, standard deviation) of the posterior."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        total = alpha**2 * VARIANCE + sigma**2
        return VARIANCE * alpha / total, sigma * (VARIANCE / total).sqrt()

    def forward(self, x, t):
        gain, std = self.law(t)
        return Normal(MEAN + gain.to(x) * (x - self.process.alpha(t).to(x) * MEAN), std.to(x))


def model(process, sampler, steps):
    return Model(process, Pixels(process), sampler, uniform, steps, blank)


def blank(n, generator):
    return torch.zeros(n, 1, 2, 2)


N = 2500
IMAGES = torch.full((N, 1, 2, 2), SOURCE)
EXACT = model(linear(), Ancestral(), 10)


@pytest.mark.parametrize("process", [linear(), vp()], ids=["linear", "vp"])
@pytest.mark.parametrize(("noise", "start"), [(0.1, 0.1), (0.25, 0.3), (0.5, 0.5), (0.9, 0.9)])
def test_the_law_is_the_posterior_of_the_noised_image(process, noise, start):
    """The exact posterior, transitions integrated over it: exact at any number of steps.

    n = 10,000 independent pixels; 4.5 standard errors, false alarm below 1e-5 each.
    """
    exact = model(process, Ancestral(), 10)
    got = vary(exact, IMAGES, noise, seed=5)
    t = torch.tensor(start, dtype=torch.float64)
    alpha, sigma = process.alpha(t), process.sigma(t)
    gain, std = exact.denoiser.law(t)
    mean = MEAN + gain * alpha * (SOURCE - MEAN)
    variance = std**2 + gain**2 * sigma**2
    assert abs(got.mean() - mean) < 4.5 * (variance / got.numel()) ** 0.5
    assert abs(got.var() / variance - 1) < 4.5 * (2 / got.numel()) ** 0.5


@pytest.mark.parametrize("noise", [0.2, 0.6])
def test_a_deterministic_solver_has_the_law_of_the_flow(noise):
    """x_0 = m + sqrt(c / (alpha^2 c + sigma^2)) (x_t - alpha m), which many small steps follow.

    400 steps of first order: the slack beside 4.5 standard errors is 1 %.
    """
    flow = model(linear(), DDIM(), 400)
    got = vary(flow, IMAGES, noise, seed=5)
    t = torch.tensor(noise, dtype=torch.float64)
    alpha, sigma = flow.process.alpha(t), flow.process.sigma(t)
    scale = (VARIANCE / (alpha**2 * VARIANCE + sigma**2)).sqrt()
    mean, variance = MEAN + scale * alpha * (SOURCE - MEAN), (scale * sigma) ** 2
    assert abs(got.mean() - mean) < 4.5 * (variance / got.numel()) ** 0.5 + 0.01 * abs(mean)
    assert abs(got.var() / variance - 1) < 4.5 * (2 / got.numel()) ** 0.5 + 0.01


def test_no_noise_returns_the_images_and_all_of_it_samples():
    some = IMAGES[:20]
    same = vary(EXACT, some, 0)
    assert torch.equal(same, some) and same is not some
    plain = draw(EXACT, 20, seed=4).x.clamp(-1, 1)
    assert torch.equal(vary(EXACT, some, 1, seed=4), plain)
    assert torch.equal(vary(EXACT, -some, 1, seed=4), plain)
    assert not torch.equal(vary(EXACT, some, 0.9, seed=4), plain)


def test_it_works_behind_a_codec():
    """An affine codec with scale 1 / k is the same model of data k times as far from its shift."""
    coded = replace(EXACT, codec=Affine(0.1, 1.0))
    got = vary(coded, IMAGES + 0.1, 0.5, seed=5)
    assert torch.allclose(got, vary(EXACT, IMAGES, 0.5, seed=5) + 0.1, atol=1e-5)


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_a_noise_beyond_its_range_is_told(noise):
    with pytest.raises(InputError, match=r"in \[0, 1\], but is"):
        vary(EXACT, IMAGES, noise)


def test_other_images_are_told():
    with pytest.raises(InputError, match="do not fit this model"):
        vary(EXACT, IMAGES.expand(N, 3, 2, 2), 0.5)
