"""Inpainting: what is known stays, bit for bit, and what is new goes with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sfumato import Affine, Denoiser, Dirac, InputError, Model, random
from sfumato_images.inpaint import inpaint
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
        (SHADES.mT, HALF, r"do not fit this model, which makes \(N, 1, 6, 4\)"),
    ],
)
def test_what_does_not_fit_is_told(images, mask, message):
    with pytest.raises(InputError, match=message):
        inpaint(MODEL, images, mask)
