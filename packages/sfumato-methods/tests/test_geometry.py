"""Geometry of trajectories: closed forms, the mean-shift identity, the jump."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Dirac, InputError, Ragged, Unsupported, random, run, sample
from sfumato.random import derive
from sfumato_methods import grids
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import VP, Cosine, Gaussian, Linear, edm
from sfumato_methods.measures.geometry import (
    Empirical,
    chord_angle,
    chord_deviation,
    excess_length,
    jumped,
    mean_shift,
    record,
    relative_distance,
    score_deviation,
)
from sfumato_methods.solvers import DDIM, Euler, Heun
from sfumato_testing import Enumerated, FullMixture

FLOAT = torch.float64


def points(n, d=3, name="data"):
    return random.normal(torch.empty(n, d, dtype=FLOAT), derive(0, name))


def test_a_half_circle_has_its_deviation_length_and_angles():
    phi = torch.linspace(0, math.pi, 2001, dtype=FLOAT)
    circle = (
        torch.stack([phi.cos(), phi.sin()], 1)[:, None] * torch.tensor([[[1.0]], [[3.0]]])[:, 0]
    )
    deviation = chord_deviation(circle)
    assert torch.allclose(deviation, (phi.sin() / 2)[:, None].expand(-1, 2), atol=1e-12)
    assert torch.allclose(
        excess_length(circle), torch.tensor(math.pi / 2 - 1, dtype=FLOAT), atol=1e-6
    )
    middle = (phi[1:] + phi[:-1]) / 2
    assert torch.allclose(chord_angle(circle)[:, 0], (math.pi / 2 - middle).abs(), atol=1e-9)


def test_a_straight_line_has_none_and_a_closed_one_is_refused():
    line = torch.linspace(0, 1, 5, dtype=FLOAT)[:, None, None] * points(4)
    assert float(chord_deviation(line).max()) < 1e-15
    assert float(excess_length(line).abs().max()) < 1e-14
    assert float(chord_angle(line).max()) < 1e-7
    rests = torch.cat([line[:2], line[1:]])
    assert float(chord_angle(rests)[1].max()) == 0
    with pytest.raises(InputError, match="no chord"):
        excess_length(torch.cat([line, line[:1]]))


def test_a_normal_is_recorded_as_its_closed_form():
    """x_t = x_T (1 + s^2)^(1/2) (1 + T^2)^(-1/2): straight through 0, and D = x / (1 + s^2)."""
    process, start = edm(10.0), 10 * points(5)
    target = FullMixture(torch.zeros(1, 3), torch.eye(3)[None])
    grid = torch.linspace(1, 0, 400, dtype=FLOAT).square()
    path = record(run(Heun(), process, target.denoiser(process), start, grid, torch.Generator()))
    sigma = process.sigma(grid)
    want = start * ((1 + sigma**2) / 101).sqrt()[:, None, None]
    assert torch.allclose(path.states[:-1], want[:-1], rtol=1e-3)
    level = sigma[:-1, None, None]
    assert torch.allclose(path.means, path.states[:-1] / (1 + level.square()), rtol=1e-12)
    assert [float(t) for t in path.times] == grid.tolist()
    assert float(chord_deviation(path.states).max()) < 1e-12
    end = path.states[-2]
    found = relative_distance(path.states, end)
    assert torch.allclose(found[:-1], (1 + sigma[:-1] ** 2).sqrt() - 1, rtol=2e-3, atol=1e-3)


def test_items_of_different_size_are_recorded_each_by_itself():
    process, target = edm(10.0), lambda x, t: Dirac(x * 0.5)
    rows, owner = 10 * points(5), torch.tensor([0, 0, 0, 1, 1])
    grid = grids.karras(process, 4)
    walk = [Euler(), process, target]
    whole = record(run(*walk, Ragged(rows, owner, 2), grid, torch.Generator()))
    for i in range(2):
        alone = record(run(*walk, rows[owner == i][None], grid, torch.Generator()))
        size = alone.states.shape[-1]
        assert torch.allclose(whole.states[:, i, :size], alone.states[:, 0])
        assert not bool(whole.states[:, i, size:].any())
        assert torch.allclose(excess_length(whole.states)[i], excess_length(alone.states)[0])
    with pytest.raises(InputError, match="no frame"):
        record([])


@pytest.mark.parametrize("width", [0.01, 0.3, 5.0])
def test_mean_shift_climbs_the_kernel_density(width):
    data, x = points(40), points(7, name="x").requires_grad_()
    density = (-0.5 * (x[:, None] - data).square().sum(-1) / width**2).logsumexp(1).sum()
    (slope,) = torch.autograd.grad(density, x)
    with torch.no_grad():
        assert torch.allclose(mean_shift(x, data, width), x + width**2 * slope, rtol=1e-10)


def test_a_set_is_its_own_nearest_point_without_width():
    data = points(10)
    assert torch.equal(mean_shift(data + 1e-3, data, 0.0), data)
    assert torch.equal(Empirical(edm(), data)(data - 1e-3, torch.zeros((), dtype=FLOAT)).mean, data)
    assert torch.allclose(mean_shift(points(2, name="x"), data, 1e9), data.mean(0).expand(2, -1))


@pytest.mark.parametrize(
    "process", [edm(5.0), Gaussian(VP()), Gaussian(Linear())], ids=["edm", "vp", "flow"]
)
@pytest.mark.parametrize("per_item", [False, True], ids=["shared", "per item"])
def test_the_empirical_denoiser_is_bayes_rule_over_the_set(process, per_item):
    data = points(9).reshape(9, 3, 1)
    t = torch.tensor([0.2, 0.7] if per_item else 0.4, dtype=FLOAT)
    x = points(2, name="x").reshape(2, 3, 1)
    want = Enumerated(data, [1 / 9] * 9).denoiser(process)(x, t).mean
    found = Empirical(process, data)(x, t).mean
    assert found.shape == x.shape and torch.allclose(found, want, rtol=1e-9)


def test_the_empirical_denoiser_is_finite_at_the_end_and_samples_the_set():
    process, data = Gaussian(Cosine()), points(6)
    denoiser = Empirical(process, data)
    one = torch.ones((), dtype=FLOAT)
    assert torch.allclose(denoiser(points(2), one).mean, data.mean(0).expand(2, -1), atol=1e-9)
    drawn = sample(
        process, denoiser, points(50), sampler=DDIM(), grid=grids.logsnr(process, 60),
        generator=derive(1, "sample"),
    )  # fmt: skip
    assert float(torch.cdist(drawn, data).amin(1).max()) < 1e-6
    with pytest.raises(Unsupported, match="Empirical needs AFFINE, GAUSSIAN"):
        Empirical(Discrete(uniform(3)), data)


def test_an_euler_step_is_a_convex_combination_with_mean_shift():
    """The identity of the paper, to 1e-10 at every level, the width of the kernel being sigma."""
    process, data = edm(80.0), points(50, 16)
    grid, start = grids.karras(process, 18), 80 * points(20, 16, "start")
    frames = list(run(Euler(), process, Empirical(process, data), start, grid, torch.Generator()))
    for frame in frames:
        level, below = process.sigma(frame.t), process.sigma(frame.s)
        x = frame.before.clone().requires_grad_()
        kernel = (-0.5 * (x[:, None] - data).square().sum(-1) / level**2).logsumexp(1).sum()
        shift = frame.before + level**2 * torch.autograd.grad(kernel, x)[0]
        want = below / level * frame.before + (1 - below / level) * shift
        assert float((frame.after - want).abs().max()) < 1e-10


def test_the_deviation_of_a_denoiser_is_its_distance_from_the_empirical_one():
    process, data = edm(5.0), points(8)
    exact = Empirical(process, data)
    other = lambda x, t: Dirac(exact(x, t).mean + torch.tensor([3.0, 0.0, 4.0]))  # noqa: E731
    grid, start = grids.karras(process, 5), 5 * points(4, name="start")
    frames = list(run(Euler(), process, other, start, grid, torch.Generator()))
    found = score_deviation(frames, exact)
    assert found.shape == (5, 4) and torch.allclose(found, torch.full_like(found, 5.0))


def test_a_jump_ends_at_the_prediction_and_saves_the_calls():
    process, target = edm(), FullMixture(points(3), 0.04 * torch.eye(3).expand(3, 3, 3))
    grid = grids.karras(process, 20)
    short = jumped(grid, float(grid[12]))
    assert torch.equal(short[:-1], grid[:13]) and float(short[-1]) == 0
    start, calls = 80 * points(6, name="start"), []

    def denoiser(x, t):
        calls.append(t)
        return target.denoiser(process)(x, t)

    whole = list(run(DDIM(), process, denoiser, start, grid, torch.Generator()))
    assert len(calls) == 20
    cut = list(run(DDIM(), process, denoiser, start, short, torch.Generator()))
    assert len(calls) == 33 and torch.equal(cut[-1].after, whole[12].posterior.mean)
    with pytest.raises(InputError, match="no time from 2 up"):
        jumped(grid, 2.0)
    with pytest.raises(InputError, match="descends to 0"):
        jumped(grid[:-1], 0.1)
