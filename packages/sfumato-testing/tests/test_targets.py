"""The exact targets are exact: against quadrature, closed forms of torch, and brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import distributions as D

from sfumato import Fields, InputError, Normal, Padded, Product, Ragged, elbo, random
from sfumato_methods.discrete import Discrete, absorbing, marginal, uniform
from sfumato_methods.gaussian import Centred, linear, ve, vp
from sfumato_testing import DiagonalMixture, Enumerated, Factorised, FullMixture, Together
from sfumato_testing.states import repeat
from sfumato_testing.statistics import z_bound

F64 = torch.float64
WEIGHTS, MEANS, STDS = [0.3, 0.7], [-1.0, 0.5], [0.4, 0.6]
LINE = DiagonalMixture(torch.zeros(1, 1, dtype=F64), MEANS, STDS, WEIGHTS)
COVARIANCES = torch.tensor([[[0.6, 0.3], [0.3, 0.4]], [[0.2, -0.1], [-0.1, 0.5]]], dtype=F64)
CENTRES = torch.tensor([[0.5, -1.0], [-0.6, 0.8]], dtype=F64)
PLANE = FullMixture(CENTRES, COVARIANCES, WEIGHTS)


def time(value):
    return torch.tensor(value, dtype=F64)


@pytest.mark.parametrize("process", [vp(), ve(), linear()], ids=repr)
@pytest.mark.parametrize("t", [0.05, 0.4, 0.9])
def test_diagonal_mixture_agrees_with_quadrature(process, t):
    x0 = torch.linspace(-6, 6, 8001, dtype=F64)
    x = torch.linspace(-2, 2, 7, dtype=F64)[:, None]
    a, b = process.alpha(time(t)), process.sigma(time(t))
    prior = sum(
        w * D.Normal(m, s).log_prob(x0).exp() for w, m, s in zip(WEIGHTS, MEANS, STDS, strict=True)
    )
    joint = D.Normal(a * x0, b).log_prob(x).exp() * prior
    total = torch.trapezoid(joint, x0)
    q = LINE.denoiser(process)(x, time(t))
    assert torch.allclose(LINE.log_density(process, x, time(t)), total.log(), atol=1e-6)
    for power in (1, 2):
        want = torch.trapezoid(joint * x0**power, x0) / total
        got = sum(
            w * (p.mean[:, 0] ** power + (p.std[:, 0] ** 2 if power == 2 else 0))
            for w, p in zip(q.probs.unbind(1), q.parts, strict=True)
        )
        assert torch.allclose(got, want, atol=1e-6)
    assert torch.allclose(LINE.nll(x), -LINE.log_density(process, x, time(0.0)), atol=1e-9)


@pytest.mark.parametrize("target", [LINE, PLANE], ids=["diagonal", "full"])
def test_score_and_posterior_mean_obey_tweedie(target):
    """E[x0 | x] = (x + sigma^2 score) / alpha."""
    process, t = vp(), torch.tensor([0.1, 0.3, 0.6, 0.95], dtype=F64)
    x0 = target.sample(4, random.derive(0, "x0"))
    x = process.marginal(x0, t).sample(random.derive(0, "x"))
    a, b = process.alpha(t)[:, None], process.sigma(t)[:, None]
    want = (x + b**2 * target.score(process, x, t)) / a
    assert torch.allclose(target.denoiser(process)(x, t).mean, want, atol=1e-9)


def test_full_mixture_agrees_with_torch():
    process, t = linear(), time(0.35)
    a, b = process.alpha(t), process.sigma(t)
    law = D.MixtureSameFamily(
        D.Categorical(torch.tensor(WEIGHTS, dtype=F64)),
        D.MultivariateNormal(a * CENTRES, a**2 * COVARIANCES + b**2 * torch.eye(2)),
    )
    x = random.normal(torch.empty(9, 2, dtype=F64), random.derive(0, "x"))
    assert torch.allclose(PLANE.log_density(process, x, t), law.log_prob(x), atol=1e-10)


def test_full_and_diagonal_mixtures_agree_where_both_apply():
    stds = torch.tensor([[0.4, 0.9], [0.7, 0.2]], dtype=F64)
    diagonal = DiagonalMixture(torch.zeros(1, 2, dtype=F64), list(CENTRES), list(stds), WEIGHTS)
    full = FullMixture(CENTRES, torch.diag_embed(stds**2), WEIGHTS)
    x, t = diagonal.sample(5, random.derive(0, "x")), torch.linspace(0.1, 0.9, 5, dtype=F64)
    means = [each.denoiser(vp())(x, t).mean for each in (diagonal, full)]
    assert torch.allclose(*means, atol=1e-12)
    assert torch.allclose(diagonal.nll(x), full.nll(x), atol=1e-12)


@pytest.mark.parametrize("target", [LINE, PLANE], ids=["diagonal", "full"])
def test_draws_have_the_density(target):
    """Mean and second moment of nll-weighted draws; false alarms 1e-6."""
    x = target.sample(40_000, random.derive(0, "draws"))
    ratio = (target.nll(x) - target.nll(x + 0.2)).exp()  # E[p(x + c) / p(x)] = 1
    z = (ratio.mean() - 1) / (ratio.std() / len(x) ** 0.5)
    assert abs(float(z)) < z_bound(1)


def test_the_flow_solves_its_differential_equation():
    target, process = FullMixture(CENTRES[:1], COVARIANCES[:1]), vp()
    x = random.normal(torch.empty(5, 2, dtype=F64), random.derive(0, "x"))
    grid = torch.linspace(0.9, 0.1, 401, dtype=F64)
    denoise = target.denoiser(process)

    def rate(x, t):
        return process.velocity(denoise(x, t), x, t)

    y = x
    for t, s in itertools.pairwise(grid):  # Runge-Kutta, fourth order
        h, middle = s - t, (s + t) / 2
        k1 = rate(y, t)
        k2 = rate(y + h / 2 * k1, middle)
        k3 = rate(y + h / 2 * k2, middle)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(y + h * k3, s))
    assert torch.allclose(target.flow(process, x, grid[0], grid[-1]), y, atol=1e-8)
    with pytest.raises(InputError, match="the flow of a mixture has no closed form"):
        PLANE.flow(process, x, grid[0], grid[-1])


def test_the_bound_meets_the_exact_likelihood():
    """Mean of 4,000 bounds for each of three items; false alarms 1e-6."""
    target = DiagonalMixture(torch.zeros(1, 2, dtype=F64), [0.2], [0.6])
    x0 = torch.tensor([[0.1, -0.4], [1.0, 0.3], [0.2, 0.2]], dtype=F64)
    grid = torch.linspace(1, 0, 5, dtype=F64)
    for process in (linear(), vp()):
        nats = elbo(
            process, target.denoiser(process), repeat(x0, 4000), grid, random.derive(0, "e")
        )
        nats = nats.reshape(4000, 3)
        gap = (nats.mean(0) - target.nll(x0)).abs() - 1e-3  # what is left of x0 in x_1
        assert bool((gap / (nats.std(0) / 4000**0.5) < z_bound(3)).all())


def test_the_bound_of_a_normal_posterior_falls_with_the_steps_to_the_likelihood():
    """One normal for a posterior of two modes: 8,000 bounds each, six sigma (false alarms 1e-8)."""
    process, x0 = linear(), LINE.sample(8000, random.derive(0, "x0"))

    def denoise(x, t):
        q = LINE.denoiser(process)(x, t)
        means = torch.stack([p.mean for p in q.parts])
        squares = torch.stack([p.mean**2 + p.std**2 for p in q.parts])
        mean, square = ((q.probs.T[..., None] * m).sum(0) for m in (means, squares))
        return Normal(mean, (square - mean**2).sqrt())

    gaps, errors = [], []
    for steps in (1, 4, 16, 64):
        grid = torch.linspace(1, 0, steps + 1, dtype=F64)
        excess = elbo(process, denoise, x0, grid, random.derive(0, "e", steps)) - LINE.nll(x0)
        gaps.append(float(excess.mean()))
        errors.append(float(excess.std()) / 8000**0.5)
    for (more, less), error in zip(itertools.pairwise(gaps), errors[1:], strict=True):
        assert more - less > -6 * error
    assert gaps[0] > 6 * errors[0] and abs(gaps[-1]) < 6 * errors[-1] + 0.01


SUPPORT = torch.tensor([[0, 1], [1, 1], [2, 0], [2, 2]])
TABLE = Enumerated(SUPPORT, [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("kernel", [uniform(3), absorbing(3), marginal([0.5, 0.2, 0.3])], ids=repr)
def test_enumerated_is_the_rule_of_bayes(kernel):
    process, t, start = Discrete(kernel), time(0.6), time(0.0)
    for x in itertools.product(range(kernel.classes), repeat=2):
        ids = torch.tensor([x])
        columns = kernel.columns(ids, start, t)[0]  # (2, K): q(x_t | x_0 = .)
        joint = TABLE.probs * columns[0, SUPPORT[:, 0]] * columns[1, SUPPORT[:, 1]]
        if joint.sum() == 0:
            continue
        want = torch.zeros(2, kernel.classes, dtype=F64)
        for weight, point in zip(joint / joint.sum(), SUPPORT, strict=True):
            want[range(2), point] += weight
        assert torch.allclose(TABLE.denoiser(process)(ids, t).probs[0], want, atol=1e-12)
        assert torch.allclose(TABLE.log_density(process, ids, t), joint.sum().log()[None])


def test_enumerated_draws_and_densities():
    draws = TABLE.sample(20_000, random.derive(0, "table"))
    share = (draws[:, None] == SUPPORT).all(-1).double().mean(0)
    error = (TABLE.probs * (1 - TABLE.probs) / 20_000).sqrt()
    assert bool(((share - TABLE.probs).abs() / error < z_bound(4)).all())  # false alarms 1e-6
    assert torch.allclose(TABLE.nll(SUPPORT), -TABLE.probs.log())
    assert TABLE.nll(torch.tensor([[0, 0]])).item() == torch.inf
    points = Enumerated(torch.tensor([[-1.0], [1.0]], dtype=F64), [0.5, 0.5])
    q = points.denoiser(vp())(torch.tensor([[0.3]], dtype=F64), time(0.5))
    a, b = vp().alpha(time(0.5)), vp().sigma(time(0.5))
    assert torch.allclose(q.mean, torch.tanh(0.3 * a / b**2)[None, None])


@pytest.mark.parametrize("kernel", [uniform(3), absorbing(3)], ids=repr)
def test_factorised_agrees_with_enumerated(kernel):
    probs, like = [0.5, 0.3, 0.2], torch.zeros(1, 2, dtype=torch.long)
    pairs = torch.tensor(list(itertools.product(range(3), repeat=2)))
    weights = [probs[i] * probs[j] for i, j in pairs.tolist()]
    process, t = Discrete(kernel), torch.tensor([0.2, 0.7], dtype=F64)
    x = torch.tensor([[0, 2], [1, kernel.classes - 1]])
    one, other = Factorised(like, probs), Enumerated(pairs, weights)
    got, want = (each.denoiser(process)(x, t).probs for each in (one, other))
    assert torch.allclose(got, want, atol=1e-12)
    assert torch.allclose(one.nll(pairs), other.nll(pairs))


def test_targets_follow_the_layout_of_the_state():
    rows = Ragged(torch.zeros(3, 2, dtype=F64), torch.zeros(3, dtype=torch.long), 1)
    cloud = DiagonalMixture(rows, [0.0], [0.5], space=Centred())
    drawn = cloud.sample(4, random.derive(0, "cloud"))
    assert drawn.items == 4 and drawn.data.shape == (12, 2)
    assert drawn.data.reshape(4, 3, 2).mean(1).abs().max() < 1e-12
    dims = 4 * torch.tensor(2 * torch.pi * 0.25, dtype=F64).log() / 2
    assert torch.allclose(cloud.nll(drawn * 0), dims.expand(4))

    place = Padded(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[True, True, False]]))
    both = Together({"cloud": cloud, "ids": Factorised(place, [0.25, 0.75])})
    x0 = both.sample(3, random.derive(0, "both"))
    assert torch.allclose(both.nll(x0), cloud.nll(x0["cloud"]) + both.parts["ids"].nll(x0["ids"]))
    process = Product({"cloud": vp(), "ids": Discrete(uniform(2))})
    q = both.denoiser(process)(Fields(x0), {"cloud": time(0.4), "ids": time(0.2)})
    assert torch.allclose(
        q["cloud"].mean.data, cloud.denoiser(vp())(x0["cloud"], time(0.4)).mean.data
    )
    assert q["ids"].probs.mask.equal(x0["ids"].mask)
    with pytest.raises(InputError, match="the layout of one item, but has 3"):
        DiagonalMixture(x0["cloud"], [0.0], [1.0]).sample(2, random.derive(0, "x"))
