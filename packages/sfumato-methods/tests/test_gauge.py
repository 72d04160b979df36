"""Gauge freedom: exact transport by fields that are no gradient, and what it does to dimension."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sfumato import Dirac, InputError, Ragged, Streams, Unsupported, expand, random, run
from sfumato.random import derive
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import EDM, VP, Centred, Gaussian, Linear, edm
from sfumato_methods.grids import logsnr
from sfumato_methods.measures import Hutchinson, HutchPP, log_likelihood
from sfumato_methods.measures.dimension import flipd, normal_spectrum, svd_dimension
from sfumato_methods.measures.gauge import (
    Gauged,
    Potential,
    fit_potential,
    gauge_residual,
    score_field,
    skew_field,
)
from sfumato_methods.solvers import ChurnHeun
from sfumato_testing import FullMixture

FLOAT = torch.float64
D, PLANE, OFF = 6, 2, 0.01


def at(process, level):
    return process.time(torch.tensor(-2 * math.log(level), dtype=FLOAT))


def mixture(d=3):
    means = random.normal(torch.empty(2, d, dtype=FLOAT), derive(1, "means"))
    return FullMixture(means, torch.stack([torch.eye(d) * 0.2, torch.eye(d) * 0.5]))


def plane():
    """A flat normal law on a plane of PLANE dimensions in D, turned at random, and its basis."""
    turn, _ = torch.linalg.qr(random.normal(torch.empty(D, D, dtype=FLOAT), derive(2, "turn")))
    widths = torch.tensor([1.0] * PLANE + [OFF] * (D - PLANE), dtype=FLOAT)
    return FullMixture(torch.zeros(1, D), (turn * widths.square() @ turn.T)[None]), turn


def skew(d=3):
    m = random.normal(torch.empty(d, d, dtype=FLOAT), derive(3, "skew"))
    return m - m.T


def wave(process):
    return lambda x, t: torch.sin(x.flatten(1).sum(1) / (0.3 + process.sigma(t))) + 0.5


@pytest.mark.parametrize(
    "process", [edm(3.0), Gaussian(VP()), Gaussian(Linear())], ids=["edm", "vp", "flow"]
)
def test_the_residual_of_a_gauge_field_is_zero_and_of_others_is_not(process):
    target, t = mixture(), torch.tensor(0.3, dtype=FLOAT)
    score = score_field(process, target.denoiser(process))
    x = process.marginal(target.sample(20, derive(4, "x")), t).sample(derive(4, "e"))
    assert torch.allclose(score(x, t), target.score(process, x, t), rtol=1e-9)
    r = skew_field(skew(), wave(process), score)
    size = r(x, t).norm(dim=1)
    found = gauge_residual(r, score, x, t)
    assert float(size.median()) > 1 and float(found.abs().max()) < 1e-11 * float(size.max())
    h = wave(process)
    bare = lambda x, t: r(x, t) - expand(x, h(x, t)) * (score(x, t) @ skew().T)  # noqa: E731
    # J grad h has no divergence, which is not enough: p J grad h has
    assert float(gauge_residual(bare, score, x, t).abs().max()) > 0.1
    probed = gauge_residual(r, score, x, t, HutchPP(9), derive(4, "probe"))
    assert float(probed.abs().max()) < 1e-9 * float(size.max())  # a sketch of 3 holds D = 3


def test_under_the_density_a_gauge_field_is_orthogonal_to_gradients():
    """E r . grad f = 0 within 5 standard errors of 20,000 draws, for three functions f."""
    process, target, t = edm(3.0), mixture(), torch.tensor(0.2, dtype=FLOAT)
    score = score_field(process, target.denoiser(process))
    x = process.marginal(target.sample(20000, derive(5, "x")), t).sample(derive(5, "e"))
    r = skew_field(skew(), wave(process), score)(x, t)
    for f in (lambda v: v.square().sum(1), lambda v: torch.sin(v[:, 0] + 2 * v[:, 1]), torch.sum):
        there = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(f(there).sum(), there)
        each = (r * slope).sum(1)
        assert abs(each.mean()) < 5 * each.std() / math.sqrt(len(x))


def test_a_gauged_denoiser_has_the_score_it_was_given():
    process, target = Gaussian(VP()), mixture()
    denoiser, t = target.denoiser(process), torch.tensor([0.2, 0.6], dtype=FLOAT)
    score = score_field(process, denoiser)
    r = skew_field(skew(), wave(process), score)
    gauged = score_field(process, Gauged(denoiser, process, r))
    x = target.sample(2, derive(6, "x"))
    assert torch.allclose(gauged(x, t), score(x, t) + r(x, t), rtol=1e-9)


def test_likelihood_and_samples_survive_a_change_of_gauge():
    """The flow differs, the density does not: both to the accuracy of 200 steps."""
    process, target = edm(3.0), mixture()
    denoiser, t = target.denoiser(process), at(process, 0.3)
    r = skew_field(skew(), wave(process), score_field(process, denoiser))
    gauged = Gauged(denoiser, process, r)
    x = process.marginal(target.sample(10, derive(7, "x")), t).sample(derive(7, "e"))
    grid = logsnr(process, 120, sigma_min=0.3, sigma_max=3.0).flip(0)[1:]
    plain, other = (log_likelihood(process, d, x, grid) for d in (denoiser, gauged))
    # the prior of edm is only nearly the law at t = 1: both miss the exact value by as much
    assert float((plain.end - other.end).abs().max()) > 0.05
    exact = target.log_density(process, x, t)
    assert float((other.value - exact).abs().max()) < float((plain.value - exact).abs().max()) + 0.1
    one = torch.ones((), dtype=FLOAT)
    for found in (plain, other):  # with the exact law at t = 1 in place of the prior, exactly
        gap = target.log_density(process, found.end, one) + process.prior(x).nll(found.end)
        assert torch.allclose(found.value + gap, exact, rtol=0, atol=1e-5)


def test_a_curved_field_has_the_wrong_dimension_and_its_projection_the_right_one():
    process, (target, turn) = edm(), plane()
    denoiser, t = target.denoiser(process), at(process, 0.05)
    j = turn[:, :1] @ turn[:, 1:2].T  # in the plane
    across = turn[:, :PLANE].sum(1) / math.sqrt(PLANE)
    h = lambda x, t: 2 * torch.cos(x @ across / process.sigma(t))  # noqa: E731
    score = score_field(process, denoiser)
    r = skew_field(j - j.T, h, score)
    gauged = Gauged(denoiser, process, r)
    x0 = target.sample(40, derive(8, "x"))

    def found(d):
        return svd_dimension(process, d, x0, t, 60, derive(8, "noise"))

    assert bool((found(denoiser) == PLANE).all())
    assert float((found(gauged) != PLANE).double().mean()) > 0.9

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(D, 64), nn.SiLU(), nn.Linear(64, 1)).double()
            with torch.no_grad():
                for p in self.parameters():
                    p.copy_(0.3 * random.normal(p, derive(9, str(p.shape))))

        def forward(self, x, clock):
            return self.body(x / 0.05)

    def draw(generator):
        many = t.expand(256)
        return process.marginal(target.sample(256, generator), many).sample(generator), many

    potential = Potential(Net(), process)
    field = lambda x, t: score(x, t) + r(x, t)  # noqa: E731
    first = fit_potential(potential, field, draw, 1, derive(9, "fit"), lr=0.0)
    last = fit_potential(potential, field, draw, 500, derive(9, "fit"), lr=1e-2)
    x, many = draw(derive(9, "left"))
    weight = float((r(x, many) * 0.05).square().sum(1).mean())  # what no gradient can fit
    assert last < 0.7 * first and last > 0.8 * weight
    conservative = Gauged(denoiser, process, lambda x, t: potential(x, t) - score(x, t))
    assert float((found(conservative) == PLANE).double().mean()) > 0.9


def test_a_potential_is_a_gradient_inside_and_outside_of_graphs():
    process = edm()

    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(3.0, dtype=FLOAT))

        def forward(self, x, clock):
            return 0.5 * self.a * x.square().sum(1) * clock.exp()

    potential, t = Potential(Quadratic(), process), at(process, 2.0)
    x = mixture().sample(4, derive(10, "x"))
    slope = potential(x, t)
    assert torch.allclose(slope, 6 * x)
    (grad,) = torch.autograd.grad(slope.sum(), potential.net.a)
    assert torch.allclose(grad, 2 * x.sum())
    with torch.inference_mode():
        assert torch.allclose(potential(x, t), slope) and not potential(x, t).requires_grad


@pytest.mark.parametrize("process", [edm(), Gaussian(VP())], ids=["edm", "vp"])
def test_flipd_is_its_closed_form_on_a_normal_law(process):
    """Of variances l: sum of l/(l + d^2) and d^2 x_i^2 / (l_i + d^2)^2, d = sigma/alpha."""
    target, turn = plane()
    t = at(process, 0.05)
    x0 = target.sample(5, derive(11, "x"))
    own, d2 = torch.tensor([1.0] * PLANE + [OFF**2] * (D - PLANE), dtype=FLOAT), 0.05**2
    want = (own / (own + d2)).sum() + (d2 * (x0 @ turn).square() / (own + d2).square()).sum(1)
    found, error = flipd(process, target.denoiser(process), x0, t)
    assert torch.allclose(found, want, rtol=1e-6) and not bool(error.any())
    probed, error = flipd(
        process, target.denoiser(process), x0, t, trace=Hutchinson(200),
        generator=Streams.derive(1, "probe", range(5)),
    )  # fmt: skip
    assert bool(((probed - want).abs() < 6 * error).all()) and float(error.max()) < 0.5


def test_the_spectrum_tells_normal_directions_from_those_along_the_data():
    """Singular values against their limit sigma^2 / (l + sigma^2), by many draws."""
    process, (target, _) = edm(), plane()
    t, x0 = at(process, 0.05), torch.zeros(3, D, dtype=FLOAT)
    found = normal_spectrum(process, target.denoiser(process), x0, t, 4000, derive(12, "e"))
    want = 0.05**2 / (OFF**2 + 0.05**2)
    assert torch.allclose(found[:, : D - PLANE], torch.tensor(want, dtype=FLOAT), rtol=0.06)
    assert float(found[:, D - PLANE + 1 :].max()) < 0.06
    alone = normal_spectrum(
        process, target.denoiser(process), x0[1:2], t, 20, Streams.derive(1, "e", [1])
    )
    both = normal_spectrum(
        process, target.denoiser(process), x0, t, 20, Streams.derive(1, "e", range(3))
    )
    assert torch.allclose(both[1:2], alone, rtol=1e-10)


@pytest.mark.parametrize("method", [flipd, svd_dimension], ids=["flipd", "svd"])
def test_in_a_subspace_the_dimension_is_that_inside_it(method):
    """Centred points, 4 and 2 of them in 3 dimensions, of a wide law: 9 and 3 free numbers."""
    process = Gaussian(EDM(80.0), Centred())
    rows = random.normal(torch.empty(6, 3, dtype=FLOAT), derive(14, "x"))
    x0 = Centred().project(Ragged(rows, torch.tensor([0, 0, 0, 0, 1, 1]), 2))
    denoiser = lambda x, t: Dirac(x * expand(x, 1 / (1 + process.sigma(t).square())))  # noqa: E731
    options = {} if method is flipd else {"draws": 20, "generator": derive(14, "e")}
    found = method(process, denoiser, x0, at(process, 0.01), **options)
    found = found[0] if method is flipd else found
    assert torch.allclose(found.double(), torch.tensor([9.0, 3.0]).double(), atol=0.01)


def test_samples_of_a_gauged_score_have_the_same_law():
    """Means of bounded features of 2,000 draws each, within 5 standard errors."""
    process, target = edm(3.0), mixture()
    denoiser = target.denoiser(process)
    r = skew_field(skew(), wave(process), score_field(process, denoiser))
    start = process.marginal(
        target.sample(2000, derive(13, "x")), torch.ones((), dtype=FLOAT)
    ).sample(derive(13, "e"))
    grid, ends = logsnr(process, 80, sigma_min=0.05, sigma_max=3.0), []
    with torch.inference_mode():
        for frame in run(
            ChurnHeun(0.0), process, Gauged(denoiser, process, r), start, grid, torch.Generator()
        ):
            ends = frame.after
    data = target.sample(2000, derive(13, "data"))
    for side in (torch.tanh, lambda v: torch.tanh(v[:, :2] * v[:, 1:])):
        a, b = side(ends), side(data)
        z = (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / 2000).sqrt()
        assert float(z.abs().max()) < 5


def test_what_has_no_score_or_no_skew_matrix_is_refused():
    process, target = edm(), mixture()
    with pytest.raises(Unsupported, match="needs SCORE"):
        score_field(Discrete(uniform(3)), target.denoiser(process))
    with pytest.raises(InputError, match="square skew matrix"):
        skew_field(torch.eye(3), wave(process), lambda x, t: x)
    with pytest.raises(Unsupported, match="needs SCORE, AFFINE, GAUSSIAN"):
        flipd(Discrete(uniform(3)), target.denoiser(process), target.means, at(process, 1.0))
    with pytest.raises(InputError, match="noise level above 0"):
        flipd(process, target.denoiser(process), target.means, torch.zeros((), dtype=FLOAT))
    with pytest.raises(InputError, match="at least 1 draw"):
        normal_spectrum(
            process, target.denoiser(process), target.means, at(process, 1.0), 0, derive(0, "e")
        )
