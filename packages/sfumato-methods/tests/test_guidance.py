"""Guidance: u^(1 - w) c^w in closed form for every kind of posterior."""

import pytest
import torch

from sfumato import (
    Categorical,
    Denoiser,
    Dirac,
    Implicit,
    Joint,
    Mixture,
    Normal,
    Unsupported,
)
from sfumato_methods.guidance import CFG, extrapolate

C, U = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[0.5, -1.0]]).double()
SCALES = pytest.mark.parametrize("scale", [0.0, 0.7, 1.0, 1.6])


@SCALES
def test_points_are_extrapolated(scale):
    assert torch.allclose(extrapolate(Dirac(C), Dirac(U), scale).mean, (1 - scale) * U + scale * C)


@SCALES
def test_normals_have_the_density_of_the_product(scale):
    c, u = Normal(C, 0.5), Normal(U, 0.8)
    guided = extrapolate(c, u, scale)
    x = torch.linspace(-3, 3, 7).double()[:, None].expand(7, 2)
    wide = [Normal(law.mean.expand(7, 2), law.std) for law in (c, u, guided)]
    gap = wide[2].nll(x) - scale * wide[0].nll(x) - (1 - scale) * wide[1].nll(x)
    assert torch.allclose(gap, gap[0].expand(7), atol=1e-10)  # equal but for the normalisation


def test_normals_whose_product_is_no_normal_are_refused():
    with pytest.raises(Unsupported, match="smaller scale"):
        extrapolate(Normal(C, 1.0), Normal(U, 0.5), 3.0)


@SCALES
def test_categories_are_combined_in_log_space(scale):
    c, u = (torch.tensor([[p]], dtype=torch.float64) for p in ([0.7, 0.2, 0.1], [0.2, 0.3, 0.5]))
    product = c**scale * u ** (1 - scale)
    guided = extrapolate(Categorical(probs=c), Categorical(probs=u), scale)
    assert torch.allclose(guided.probs, product / product.sum(-1, keepdim=True), atol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_class_that_one_side_excludes_stays_excluded(scale):
    c, u = (torch.tensor([[p]], dtype=torch.float64) for p in ([0.0, 0.4, 0.6], [0.5, 0.5, 0.0]))
    guided = extrapolate(Categorical(probs=c), Categorical(probs=u), scale)
    assert guided.probs.tolist() == [[[0.0, 1.0, 0.0]]]


@SCALES
def test_joints_part_by_part_and_mixtures_by_their_mean(scale):
    joint = extrapolate(
        Joint(a=Dirac(C), b=Normal(C, 1.0)), Joint(a=Dirac(U), b=Normal(U, 1.0)), scale
    )
    expected = (1 - scale) * U + scale * C
    assert torch.allclose(joint.mean["a"], expected) and torch.allclose(joint.mean["b"], expected)
    weights = torch.tensor([[0.25, 0.75]]).double()
    c, u = (Mixture(weights, [Dirac(m), Dirac(2 * m)]) for m in (C, U))
    assert torch.allclose(extrapolate(c, u, scale).mean, 1.75 * expected)


def test_unlike_kinds_and_kinds_without_a_mean_are_refused():
    for c, u in ((Dirac(C), Normal(U, 1.0)), (Implicit(lambda g: C), Implicit(lambda g: U))):
        with pytest.raises(Unsupported, match="no closed form"):
            extrapolate(c, u, 2.0)


class Shift(Denoiser):
    """x plus a shift that a condition may set."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def given(self, *, shift=0.0):
        return Shift(shift)

    def forward(self, x, t):
        return Dirac(x + self.shift)


def test_a_guided_denoiser_is_a_denoiser_around_two():
    denoiser = Shift()
    guided = CFG(denoiser.given(shift=1.0), denoiser.given(), 3.0)
    assert torch.equal(guided(C, torch.tensor(0.5)).mean, C + 3.0)
