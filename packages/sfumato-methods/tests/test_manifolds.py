"""Rotations and angles: densities, scores, sampling, and reversal by the score alone."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Dirac, InputError, Mixture, Ragged, Unsupported, random, sample
from sfumato_methods import grids
from sfumato_methods.gaussian import ve
from sfumato_methods.manifolds import Geodesic, Rotations, Tangent, Torus, rotation, wrapped
from sfumato_methods.manifolds.rotations import _slope, angle_density, log_density
from sfumato_testing.statistics import compare

SIGMAS = [0.03, 0.1, 0.5, 1.55, 3.0, 3.15]


def time(value):
    return torch.tensor(value, dtype=torch.float64)


def series(angle, sigma, terms=400):
    """The density against the uniform law, by characters."""
    k = torch.arange(terms, dtype=torch.float64)
    decay = (2 * k + 1) * (-k * (k + 1) * sigma**2 / 2).exp()
    return (decay * ((k + 0.5) * angle[:, None]).sin()).sum(1) / (angle / 2).sin()


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_density_of_angles_is_one_in_all(sigma):
    angle = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    total = torch.trapezoid(angle_density(angle, time(sigma)), angle)
    assert abs(float(total) - 1) < 1e-6


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.55, 3.0])
def test_both_forms_of_the_density_agree(sigma):
    angle = torch.linspace(0.01, min(math.pi, 5 * sigma), 50, dtype=torch.float64)
    want = series(angle, sigma)
    got = log_density(angle, time(sigma)).exp()
    assert float(((got - want) / want).abs().max()) < 1e-8


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_slope_is_the_derivative(sigma):
    angle = torch.linspace(1e-3, math.pi - 1e-3, 400, dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(log_density(angle, time(sigma)).sum(), angle)
    got = _slope(angle.detach(), time(sigma))
    assert float((got - want).abs().max()) < 1e-8 * (1 + float(want.abs().max()))


@pytest.mark.parametrize("t", [0.05, 0.4, 1.0])
def test_the_score_of_rotations_is_the_gradient_along_turns(t):
    process = Rotations()
    x0 = rotation(torch.randn(6, 3, generator=random.derive(1, "x0"), dtype=torch.float64))
    x = process.marginal(x0, time(t)).sample(random.derive(1, "x"))
    v = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    nll = process.marginal(x0, time(t)).nll(process.move(x, v))
    (want,) = torch.autograd.grad(-nll.sum(), v)
    got = process.slope(x0, x, time(t))
    assert float((got - want).abs().max()) < 1e-5 * float(want.abs().max())


@pytest.mark.parametrize("process", [Rotations(), Torus()], ids=["rotations", "torus"])
@pytest.mark.parametrize("t", [0.02, 0.5, 1.0])
def test_directions_have_unit_size(process, t):
    """Root mean square of 20,000 draws; four standard errors are below 4 %."""
    n = 20000
    x0 = torch.eye(3, dtype=torch.float64).expand(n, 3, 3)
    x0 = x0 if isinstance(process, Rotations) else x0[:, 0]
    target = process.draw(x0, time(t), random.derive(2, "size")).target
    assert abs(float(target.square().mean().sqrt()) - 1) < 0.04


def test_the_angles_of_draws_have_their_distribution():
    """Kolmogorov-Smirnov at a false alarm of 1e-6, n = 20,000, for small and large sigma."""
    n = 20000
    for t in (0.01, 0.6, 1.0):
        process = Rotations()
        x = process.marginal(torch.eye(3, dtype=torch.float64).expand(n, 3, 3), time(t))
        drawn = x.sample(random.derive(3, "angles", str(t)))
        angle = torch.acos(((drawn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)).sort()[0]
        sigma = process.sigma(time(t))
        at = torch.linspace(0, 1, 4001, dtype=torch.float64) * min(math.pi, 12 * float(sigma))
        below = torch.cumulative_trapezoid(angle_density(at, sigma), at)
        own = below[(angle / at[1]).long().clamp(max=len(below) - 1)]
        gap = (own - (torch.arange(n) + 0.5) / n).abs().max()
        assert float(gap) < 2.7 / math.sqrt(n) + 2e-3


def test_draws_are_rotations_of_any_layout():
    process = Rotations()
    rows = Ragged(torch.eye(3).expand(5, 3, 3), torch.tensor([0, 0, 1, 1, 1]), 2)
    x = process.marginal(rows, torch.tensor([0.3, 0.9])).sample(random.derive(4, "x"))
    assert x.data.dtype == torch.float32
    assert torch.allclose(x.data @ x.data.mT, torch.eye(3).expand(5, 3, 3), atol=1e-6)
    assert torch.allclose(torch.linalg.det(x.data), torch.ones(5), atol=1e-6)


POINTS = {
    "rotations": (Rotations(), rotation(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.5, 1.0]]).double())),
    "torus": (Torus(), torch.tensor([[0.2], [2.9]], dtype=torch.float64)),
}


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("name", POINTS)
def test_the_exact_score_leads_back_to_the_data(name, eta):
    """Two points, 60 and 40 of 100: bounded features within 0.05 (1e-6), from the score alone."""
    process, points = POINTS[name]
    n, odds = 4000, torch.tensor([0.6, 0.4], dtype=torch.float64)

    def denoise(x, t):
        places = [p.expand_as(x) for p in points]
        if float(t) == 0:
            return Dirac(x)
        log = torch.stack([-process.marginal(p, t).nll(x) for p in places], 1) + odds.log()
        score = process.score(Mixture(log.softmax(1), [Dirac(p) for p in places]), x, t)
        return Tangent(score / process.size(t))

    like = points[:1].expand(n, *points.shape[1:])
    made = sample(
        process, denoise, like, sampler=Geodesic(eta), grid=grids.uniform(process, 100),
        generator=random.derive(5, name),
    )  # fmt: skip
    want = points[random.categorical(odds.expand(n, 2), random.derive(6, name))]
    assert float((made[:, None] - points).flatten(2).abs().amax(2).amin(1).quantile(0.99)) < 0.02
    near = (made[:, None] - points).flatten(2).square().sum(2).argmin(1)
    compare(f"{name} by its score", points[near], want, n, slack=0.05)


def test_tangents_are_trained_on_the_mean_square():
    got = Tangent(Ragged(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 0, 2]), 3))
    target = Ragged(torch.tensor([0.0, 0.0, 1.0]), got.direction.owner, 3)
    assert got.loss(target).tolist() == [2.5, 0.0, 4.0]


def test_wrapped_angles():
    angle = torch.tensor([0.5, -3.0, 3.5, 10.0], dtype=torch.float64)
    assert wrapped(angle)[:2].tolist() == [0.5, -3.0]
    assert torch.allclose(wrapped(angle).cos(), angle.cos())
    assert float(wrapped(angle).abs().max()) <= math.pi


def test_clear_errors():
    with pytest.raises(InputError, match="3.15"):
        Torus(0.1, 7.0)
    with pytest.raises(InputError, match="sigma_max"):
        Rotations(1.0, 0.5)
    with pytest.raises(InputError, match="eta"):
        Geodesic(1.5)
    with pytest.raises(Unsupported, match="Ancestral"):
        Geodesic().plan(ve(), torch.linspace(1, 0, 3))
