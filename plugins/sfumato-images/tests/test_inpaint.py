"""Inpainting and outpainting: what is known stays, bit for bit, and what is new goes with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sfumato import Affine, Denoiser, Dirac, InputError, Model, random
from sfumato_images.inpaint import inpaint, outpaint
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import karras, uniform
from sfumato_methods.solvers import DDIM


class Constant(Denoiser):
    """The exact denoiser of images that are one shade each: N(0, 1/2) in every pixel at once."""

    def __init__(self) -> None:
        super().__init__()
        self.process = linear()

    def forward(self, x: Tensor, t: Tensor) -> Dirac:
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        pixels = x[0].numel()
        mean = x.double().flatten(1).mean(1)
        shade = mean * alpha * 0.5 / (alpha**2 * 0.5 + sigma**2 / pixels)
        return Dirac(shade.to(x)[:, None, None, None].expand_as(x))


MODEL = Model(
    linear(), Constant(), DDIM(), karras, 20, lambda n, generator: torch.zeros(n, 1, 6, 4)
)
SHADES = torch.linspace(-0.8, 0.8, 10)[:, None, None, None].expand(10, 1, 6, 4)
HALF = torch.arange(6)[:, None].expand(6, 4) < 3


@pytest.mark.parametrize("sampler", [None, DDIM(), "dpmpp-2m"])
def test_known_pixels_are_exact_and_the_rest_goes_with_them(sampler):
    garbage = torch.where(HALF, SHADES, torch.nan)
    got = inpaint(MODEL, garbage, HALF, sampler=sampler)
    assert torch.equal(got[..., :3, :], SHADES[..., :3, :])
    assert (got[..., 3:, :] - SHADES[..., 3:, :]).abs().max() < 0.3


def test_each_image_may_have_its_own_mask():
    masks = random.uniform((10, 6, 4), random.derive(0, "mask")) < 0.5
    masks[0] = True
    got = inpaint(MODEL, SHADES, masks)
    assert torch.equal(got[:, 0][masks], SHADES[:, 0][masks])
    assert torch.equal(got[0], SHADES[0])
    assert (got - SHADES).abs().max() < 0.3


def test_where_nothing_is_known_it_samples():
    got = inpaint(MODEL, SHADES, torch.zeros(6, 4, dtype=torch.bool))
    assert not torch.allclose(got, SHADES, atol=0.3)
    assert got.abs().max() <= 1
    assert torch.equal(got, inpaint(MODEL, -SHADES, torch.zeros(6, 4, dtype=torch.bool)))
    assert not torch.equal(got, inpaint(MODEL, SHADES, torch.zeros(6, 4, dtype=torch.bool), seed=1))


def test_known_pixels_are_exact_behind_a_codec_too():
    model = replace(MODEL, codec=Affine(0.3, 0.7), grid=uniform)
    got = inpaint(model, SHADES, HALF)
    assert torch.equal(got[..., :3, :], SHADES[..., :3, :])


@pytest.mark.parametrize(
    ("images", "mask", "message"),
    [
        (SHADES, HALF.float(), "a mask is bool"),
        (SHADES, HALF.T, r"of shape \(6, 4\) or \(10, 6, 4\), not torch.bool of shape \(4, 6\)"),
        (SHADES, HALF.expand(9, 6, 4), r"not torch.bool of shape \(9, 6, 4\)"),
        (SHADES.expand(10, 3, 6, 4), HALF, r"do not fit this model, which makes \(N, 1, 6, 4\)"),
        (SHADES[0], HALF, r"do not fit this model, which makes \(N, 1, 6, 4\)"),
    ],
)
def test_what_does_not_fit_is_told(images, mask, message):
    with pytest.raises(InputError, match=message):
        inpaint(MODEL, images, mask)


class Pair(Denoiser):
    """The exact posterior mean of two pixels, N(0, C) with C = c [[1, rho], [rho, 1]]."""

    def __init__(self, c, rho):
        super().__init__()
        self.process = linear()
        self.covariance = c * torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64)

    def gain(self, t):
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        noise = sigma**2 * torch.eye(2, dtype=torch.float64)
        return alpha * self.covariance @ torch.linalg.inv(alpha**2 * self.covariance + noise)

    def forward(self, x, t):
        return Dirac((x.double().flatten(1) @ self.gain(t).T).to(x.dtype).reshape(x.shape))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_law_of_what_is_drawn_is_that_of_replacement(rho):
    """Exact: the known pixel is noised afresh at each step, so that the other is a Gaussian chain.

    Its mean and variance follow from those of the last step in closed form. n = 6000; bounds of 4.5
    standard errors, false alarm below 1e-5 each. It is not the conditional law: the mean moves a
    part of the way to it only, which is asserted for what the docstring says.
    """
    n, steps, c, value = 6000, 40, 0.04, 0.3
    net = Pair(c, rho)
    model = Model(net.process, net, DDIM(), uniform, steps, lambda n, g: torch.zeros(n, 1, 1, 2))
    known = torch.tensor([[True, False]])
    got = inpaint(model, torch.full((n, 1, 1, 2), value), known, steps=steps, seed=3)[..., 1]
    grid = uniform(net.process, steps)
    mean, variance = torch.zeros(()), net.process.sigma(grid[0]) ** 2
    rows = net.process.plan(grid)
    for row, t in zip(rows, grid, strict=False):
        pull, own = net.gain(t)[1]
        stay, pulled = row.data * own + row.keep, row.data * pull
        mean = stay * mean + pulled * net.process.alpha(t) * value
        noise = pulled**2 * net.process.sigma(t) ** 2 + row.std**2
        variance = stay**2 * variance + noise
    assert abs(got.mean() - mean) < 4.5 * (variance / n) ** 0.5
    assert abs(got.var() / variance - 1) < 4.5 * (2 / n) ** 0.5
    conditional = rho * value
    assert mean == 0 if rho == 0 else 0.4 * conditional < mean < 0.75 * conditional


def test_images_of_another_size_are_filled_where_the_network_takes_them():
    wide = SHADES[..., :1].expand(10, 1, 6, 9)
    known = torch.arange(9).expand(6, 9) < 5
    got = inpaint(MODEL, wide, known)
    assert torch.equal(got[..., :5], wide[..., :5])
    assert (got - wide).abs().max() < 0.3


def test_outpainting_keeps_the_pixels_and_goes_on():
    got = outpaint(MODEL, SHADES, left=2, top=1, bottom=3)
    assert got.shape == (10, 1, 10, 6)
    assert torch.equal(got[..., 1:7, 2:], SHADES)
    assert (got - SHADES[..., :1, :1]).abs().max() < 0.3


def test_calls_may_continue_one_another():
    whole = inpaint(MODEL, SHADES, HALF)
    parts = [inpaint(MODEL, SHADES[i : i + 5], HALF, first=i) for i in (0, 5)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


@pytest.mark.parametrize("added", [{}, {"left": -1, "right": 2}, {"top": 0}])
def test_outpainting_needs_something_to_add(added):
    with pytest.raises(InputError, match="outpainting adds pixels"):
        outpaint(MODEL, SHADES, **added)
