"""Sub-VP's relatives: heavy tails, noise by frequency, the input scale of momentum."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.fft import dctn
from scipy.stats import beta, kstest, multivariate_t
from torch import nn

from sfumato import Ancestral, InputError, Normal, Preconditioned, random
from sfumato_methods.gaussian import (
    EDM,
    VP,
    Banded,
    Frequencies,
    HeavyTailed,
    InBands,
    StudentT,
    agm,
    blurring,
    edm,
    pfgmpp,
)
from sfumato_methods.gaussian.bands import aligned, dct, idct
from sfumato_methods.gaussian.momentum import Momentum, damped, warm_up
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler, Heun
from sfumato_testing import Case, DiagonalMixture, Enumerated, checks, checks_of
from sfumato_testing.book import number

FLOAT = torch.float64
X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=FLOAT)
IMAGES = torch.tensor([0.5, -1.2, 0.3, 0.8, -0.7, 0.1, 1.5, -0.2], dtype=FLOAT).reshape(2, 1, 2, 2)
FLOWS = (Ancestral(), Euler(), Heun())
POINTS = Enumerated(X0, [0.4, 0.6])


def in_bands(process, std=0.6):
    """Independent normals, whose cosine transform is such normals again."""
    target = DiagonalMixture(IMAGES[:1], [0.0], [std])

    def exact(x, t):
        return InBands(target.denoiser(process.bands(x))(dct(x), aligned(x, t)))

    return Case(process, IMAGES, exact=exact, data=target.sample, samplers=FLOWS)


@checks(
    Case(
        pfgmpp(4.0),
        X0,
        exact=POINTS.denoiser(pfgmpp(4.0)),
        data=POINTS.sample,
        samplers=(*FLOWS, DDIM(), DPMSolverPP()),
    ),
    in_bands(blurring()),
    in_bands(Frequencies(VP(), colour=-1.0)),
)
def test_families(case, check):
    check(case)


class LightTails(HeavyTailed):
    """Normal noise on the way, heavy tails at the prior alone."""

    def marginal(self, x0, t):
        law = super().marginal(x0, t)
        return law if bool((t == 1).all()) else Normal(law.mean, law.scale)


class WrongBand(Frequencies):
    """The frequencies of a square for those of the image."""

    def velocity(self, q, x, t, row=None):
        return super().velocity(q, x, t, row).mT


@pytest.mark.parametrize(
    ("broken", "x0", "telling"),
    [(LightTails(EDM(), 3.0), X0, "C1"), (WrongBand(VP(), blur=3.0), IMAGES, "C10")],
    ids=["tails", "band"],
)
def test_mutants_are_caught(broken, x0, telling):
    case = Case(broken, x0)
    (check,) = (check for check in checks_of(case) if number(check) == telling)
    with pytest.raises(AssertionError, match=telling):
        check(case)


def test_heavy_tails_have_the_published_radius():
    """R = r (b/(1 - b))^(1/2), b ~ Beta(N/2, D/2); Kolmogorov-Smirnov, false alarms 1e-4."""
    law = StudentT(torch.zeros(4000, 3, dtype=FLOAT), 2.0, 5.0)
    square = law.sample(random.derive(0, "radius")).square().sum(1) / (4 * 5)
    found = (square / (1 + square)).numpy()
    assert kstest(found, beta(1.5, 2.5).cdf).pvalue > 1e-4


def test_heavy_tails_have_their_density():
    law = StudentT(X0, 0.7, 4.0)
    x = X0 + torch.tensor([[0.3, -2.0, 0.1], [5.0, 0.0, 1.0]], dtype=FLOAT)
    want = [-multivariate_t(m, 0.49, df=4.0).logpdf(v) for m, v in zip(X0, x, strict=True)]
    assert torch.allclose(law.nll(x), torch.tensor(want, dtype=FLOAT), rtol=1e-10)


def test_many_dimensions_are_diffusion():
    """The exact denoiser of points goes over into that of normal noise as 1/D."""
    t, x = torch.tensor(0.01, dtype=FLOAT), X0 + 0.3
    plain = POINTS.denoiser(edm())(x, t).mean
    gaps = [
        float((POINTS.denoiser(pfgmpp(d))(x, t).mean - plain).abs().max()) for d in (1e2, 1e4, 1e6)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.1)
    assert gaps[1] / gaps[2] == pytest.approx(100, rel=0.1)
    with pytest.raises(InputError, match="freedom"):
        pfgmpp(0.0)


def test_the_cosine_transform_is_scipys_and_its_inverse_exact():
    x = random.normal(torch.empty(2, 3, 5, 8, dtype=FLOAT), random.derive(0, "x"))
    want = dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    assert torch.allclose(dct(x), torch.from_numpy(want), atol=1e-12)
    assert torch.allclose(idct(dct(x)), x, atol=1e-12)


def test_a_blurred_wave_decays_by_its_frequency():
    process, t = blurring(blur=3.0, floor=0.01), torch.tensor(0.4, dtype=FLOAT)
    row = torch.cos(math.pi * 2 * (torch.arange(8) + 0.5) / 8).double().expand(1, 1, 8, 8)
    tau = 4.5 * math.sin(0.2 * math.pi) ** 2
    kept = 0.01 + 0.99 * math.exp(-((math.pi * 2 / 8) ** 2) * tau)
    want = float(process.base.alpha(t)) * kept * row
    assert torch.allclose(process.marginal(row, t).mean, want, atol=1e-12)
    with pytest.raises(InputError, match="H, W"):
        process.marginal(X0, t)


def test_tables_made_in_inference_mode_serve_gradients():
    for process, size in ((blurring(), 7), (agm(), 7)):
        x0 = torch.ones(1, 1, size, size, dtype=FLOAT)
        t = torch.tensor(0.5, dtype=FLOAT)
        with torch.inference_mode():
            process.marginal(x0, t).sample(random.derive(0, "kept"))
        time = t.clone().requires_grad_()
        mean = process.project(process.marginal(x0.requires_grad_(), time).mean)
        mean.sum().backward()
        assert time.grad.isfinite()


class Echo(nn.Module):
    def forward(self, x, clock):
        return x


def test_a_network_for_frequencies_is_preconditioned_at_each():
    """With an echo for a network D = (c_skip + c_out c_in) y, frequency by frequency."""
    process, t = blurring(blur=2.0), torch.tensor([0.3, 0.8], dtype=FLOAT)
    got = Banded(Echo(), process, "edm", sigma_data=0.5)(IMAGES, t).mean
    bands, at = process.bands(IMAGES), aligned(IMAGES, t)
    alpha, sigma = bands.alpha(at), bands.sigma(at)
    total = sigma**2 + 0.25 * alpha**2
    gain = alpha * 0.25 / total + sigma * 0.5 / total
    assert torch.allclose(got, idct(gain * dct(IMAGES)), rtol=1e-10)


def test_momentum_is_a_critically_damped_oscillator():
    """x'' + 2 m x' + m^2 x = 0 with x(0) = 1 and x'(0) = 0, by automatic differentiation."""
    b = torch.linspace(0, 6, 25, dtype=FLOAT, requires_grad=True)
    x = damped(b, 2.0)
    (speed,) = torch.autograd.grad(x.sum(), b, create_graph=True)
    (force,) = torch.autograd.grad(speed.sum(), b)
    assert float((force + 4 * speed + 4 * x).detach().abs().max()) < 1e-12
    assert float(x[0]) == 1 and float(speed[0]) == 0


def test_momentum_changes_the_input_of_a_network_alone():
    net, t = Echo(), torch.tensor([0.01, 0.4], dtype=FLOAT)
    plain, other = Preconditioned(net, edm()), Momentum(net, edm())
    args = edm().alpha(t), edm().sigma(t)
    for got, want in zip(
        other._coefficients(*args)[:2], plain._coefficients(*args)[:2], strict=True
    ):
        assert torch.equal(got, want)
    level = torch.tensor(32.0, dtype=FLOAT)
    share = (32 - 0.002) / (80 - 0.002)
    elapsed = 0.1 * share + 0.5 * 19.9 * share**2
    assert float(other._coefficients(args[0][1:], level[None])[2]) == pytest.approx(
        (1 + 2 * elapsed) * math.exp(-2 * elapsed)
    )
    with pytest.raises(InputError, match="Momentum"):
        Momentum(net, edm(), momentum=0.0)


def test_the_weight_warms_up_from_5_to_500():
    assert [warm_up(k, 10) for k in (0, 5)] == pytest.approx([5, 50])
    assert warm_up(10, 10) == math.inf
