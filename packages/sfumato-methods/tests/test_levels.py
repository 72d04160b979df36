"""Grids that are values: published levels, interpolation, shifted levels for the network."""

import math

import pytest
import torch

from sfumato import Dirac, InputError, Unsupported, expand, random, run
from sfumato_methods import grids
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_methods.gaussian import EDM, VP, Gaussian, Linear
from sfumato_methods.grids import Levels, Retimed
from sfumato_methods.solvers import DDIM, DPMSolverPP
from sfumato_testing import FullMixture

SD = Gaussian(VP.from_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2))


def ratio(process, times):
    return (-0.5 * process.logsnr(times)).exp()


@pytest.mark.parametrize(
    ("levels", "published"),
    [
        (grids.ays_sd, "StableDiffusionSigmas"),
        (grids.ays_sdxl, "StableDiffusionXLSigmas"),
        (grids.ays_svd, "StableDiffusionVideoSigmas"),
    ],
)
def test_the_tables_are_those_of_diffusers(levels, published):
    from diffusers.schedulers import AysSchedules

    assert list(levels.levels[:-1]) == AysSchedules[published][:-1]
    assert AysSchedules[published][-1] == 0  # where ours keeps the level that becomes 0


def test_ten_steps_stand_at_the_published_levels():
    times = grids.ays_sd(SD, 10)
    assert times[0] == 1 and times[-1] == 0 and len(times) == 11
    assert torch.allclose(ratio(SD, times[1:-1]), torch.tensor(grids.ays_sd.levels[1:10]).double())
    # the continuous chain ends a hair beside the first level of the table
    assert float(ratio(SD, times[:1])) == pytest.approx(14.615, rel=1e-3)


def test_other_numbers_of_steps_interpolate_the_logarithm():
    made = Levels((8.0, 2.0, 0.5))
    process = Gaussian(EDM(8.0))
    assert torch.allclose(
        ratio(process, made(process, 4)[:-1]), torch.tensor([8.0, 4, 2, 1]).double()
    )
    assert torch.allclose(ratio(process, made(process, 1)[:-1]), torch.tensor([8.0]).double())


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(EDM()), Gaussian(Linear())], ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_levels_of_a_grid_give_its_times_again(process, steps):
    times = grids.uniform(process, steps)
    assert torch.allclose(Levels.of(process, times)(process, steps), times, rtol=1e-12)


def test_levels_that_are_none_are_refused():
    for wrong in ((1.0,), (1.0, 2.0), (2.0, 1.0, 0.0), (2.0, 1.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(InputError, match="positive numbers that descend"):
            Levels(wrong)
    with pytest.raises(InputError, match="2 steps take as many shifts, not 1"):
        Levels((4.0, 2.0, 1.0), (0.1,))
    with pytest.raises(InputError, match="at least 1 step"):
        Levels((4.0, 2.0))(SD, 0)
    with pytest.raises(InputError, match="made for another process: step 1 begins at"):
        grids.ays_svd(SD, 10)
    with pytest.raises(Unsupported, match="needs AFFINE"):
        Levels((4.0, 2.0))(Discrete(absorbing(3)), 1)


class Telling:
    """Half of what it sees; remembers the times that it was told."""

    def __init__(self):
        self.told = []

    def __call__(self, x, t):
        self.told.append(t)
        return Dirac(0.5 * x)


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(EDM()), Gaussian(Linear())], ids=repr)
def test_shifts_change_what_is_told_and_keep_the_noise_of_the_answer(process):
    net = Telling()
    made = Levels((30.0, 3.0, 0.3, 0.03), (0.0, 0.2, -0.1))
    denoiser = made.told(process, net, 3)
    times = made(process, 3)
    x = random.normal(torch.empty(5, 2).double(), random.derive(0, "x"))
    for t, shift in zip(times[1:3], made.shifts[1:], strict=True):
        mean = denoiser(x, t).mean
        other = net.told[-1]
        assert float(ratio(process, other) / ratio(process, t)) == pytest.approx(math.exp(shift))
        seen = x * process.alpha(other) / process.alpha(t)
        noise = (seen - process.alpha(other) * 0.5 * seen) / process.sigma(other)
        assert torch.allclose(process.alpha(t) * mean + process.sigma(t) * noise, x, atol=1e-12)


def test_without_a_shift_nothing_changes():
    process, net = Gaussian(VP()), Telling()
    assert Levels((3.0, 0.3)).told(process, net, 7) is net
    still = Retimed(net, process, torch.tensor([3.0, -3.0]).double(), torch.zeros(2).double())
    x = random.normal(torch.empty(4, 2).double(), random.derive(0, "x"))
    for t in (1.0, 0.7, 1e-3, 0.0):
        moment = torch.tensor(t, dtype=torch.float64)
        assert torch.allclose(still(x, moment).mean, 0.5 * x, rtol=1e-12)
    per_item = torch.tensor([1.0, 0.5, 0.1, 0.0], dtype=torch.float64)
    assert torch.allclose(still(x, per_item).mean, 0.5 * x, rtol=1e-12)


def test_shifts_hold_for_their_number_of_steps_only():
    made = Levels((4.0, 2.0, 1.0), (0.0, 0.1))
    with pytest.raises(InputError, match="learned for 2 steps, not 3"):
        made.told(Gaussian(VP()), Telling(), 3)


def mixture(seed, std=0.1):
    like = torch.empty(6, 4, dtype=torch.float64)
    means = random.normal(like, random.derive(seed, "means"))
    return FullMixture(means, torch.eye(4).double().expand(6, 4, 4) * std**2)


def solved(process, denoiser, x, sampler, grid):
    for frame in run(sampler, process, denoiser, x, grid, torch.Generator()):
        x = frame.after
    return x


def test_learned_levels_land_closer_to_the_fine_solution():
    process, sampler, data = Gaussian(VP()), DPMSolverPP(), mixture(1, std=0.3)
    denoiser = data.denoiser(process)
    noise = random.normal(torch.empty(600, 4).double(), random.derive(0, "noise"))
    fine = solved(process, denoiser, noise, sampler, grids.logsnr(process, 400, 0.002))
    seen, unseen = slice(0, 200), slice(200, 600)
    found = grids.learn(
        process,
        lambda index: denoiser,
        noise[seen],
        fine[seen],
        6,
        sampler=sampler,
        generator=random.derive(0, "learn"),
        start=Levels.of(process, grids.uniform(process, 6)),
        rounds=30,
    )
    assert found.after < found.before

    def far(grid):
        there = solved(process, denoiser, noise[unseen], sampler, grid(process, 6))
        return float((there - fine[unseen]).square().mean())

    # What was learned holds for noise that neither the learning nor its choice has seen.
    assert far(found.levels) < 0.7 * min(far(grids.logsnr), far(grids.karras), far(grids.uniform))


def test_the_gradient_of_the_grid_is_the_slope_of_the_distance():
    from sfumato_methods.grids.ld3 import _Student

    process, data = Gaussian(VP()), mixture(1)
    denoiser = data.denoiser(process)
    x = random.normal(torch.empty(20, 4).double(), random.derive(1, "noise"))
    start = Levels((50.0, 5.0, 0.6, 0.1, 0.01), (0.0, 0.1, -0.2, 0.05))
    student = _Student.at(process, DDIM(), start, 4)

    def distance():
        return student(denoiser, x).square().sum()

    grads = torch.autograd.grad(distance(), [student.shares, student.nudges])
    for value, grad in zip((student.shares, student.nudges), grads, strict=True):
        for i in range(1, 4):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    value[i] += sign * 1e-5
                    ends.append(float(distance()))
                    value[i] -= sign * 1e-5
            assert float(grad[i]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("process", [Gaussian(Linear()), Gaussian(VP())], ids=repr)
def test_the_gradient_is_finite_where_no_data_is_left(process):
    """At t = 1 the level of `Linear` is infinite."""
    from sfumato_methods.grids.ld3 import _Student

    start = Levels((50.0, 2.0, 0.1), (0.0, 0.1))
    student = _Student.at(process, DPMSolverPP(), start, 2)
    x = random.normal(torch.empty(5, 2).double(), random.derive(1, "noise"))
    loss = student(lambda x, t: Dirac(torch.tanh(x) * expand(x, 1 - t)), x).square().sum()
    grads = torch.autograd.grad(loss, [student.shares, student.nudges])
    assert all(bool(g.isfinite().all()) for g in grads) and bool(grads[0].any())


def test_learning_with_a_ball_and_with_shifts_stays_within_their_bounds():
    process, sampler, data = Gaussian(VP()), DDIM(), mixture(2)
    denoiser = data.denoiser(process)
    noise = random.normal(torch.empty(60, 4).double(), random.derive(2, "noise"))
    fine = solved(process, denoiser, noise, sampler, grids.logsnr(process, 200, 0.002))
    told = []
    found = grids.learn(
        process, lambda index: denoiser, noise, fine, 5, sampler=sampler,
        generator=random.derive(2, "learn"), rounds=8, radius=0.05, shifted=True,
        watch=lambda *news: told.append(news),
    )  # fmt: skip
    assert [news[:2] for news in told] == [(i + 1, 8) for i in range(8)]
    assert found.after <= found.before
    if found.levels.shifts:
        smallest = -torch.tensor(found.levels.levels).log().diff().max()
        assert found.levels.shifts[0] == 0
        assert max(map(abs, found.levels.shifts)) <= 0.5 * float(smallest) + 1e-6


def test_what_the_network_is_told_is_learned_at_high_levels_too():
    """There a shift moves x_0 by sigma/alpha times as much; equal steps of it did only harm."""
    process, sampler = Gaussian(VP()), DPMSolverPP()
    denoiser = mixture(1, std=0.3).denoiser(process)
    noise = random.normal(torch.empty(250, 4).double(), random.derive(0, "noise"))
    fine = solved(process, denoiser, noise, sampler, grids.logsnr(process, 200, 0.002))
    kept = {}
    for shifted in (False, True):
        kept[shifted] = grids.learn(
            process, lambda index: denoiser, noise, fine, 10, sampler=sampler, batch=50,
            generator=random.derive(0, "learn"), rounds=10, shifted=shifted,
            start=Levels.of(process, grids.uniform(process, 10)),
        )  # fmt: skip
    assert kept[True].after < 0.8 * kept[False].after < kept[False].before
    assert any(kept[True].levels.shifts)


def test_what_cannot_be_learned_is_named():
    process, x = Gaussian(VP()), torch.zeros(4, 2)
    common = {"generator": torch.Generator()}
    with pytest.raises(InputError, match="draws noise"):
        grids.learn(process, lambda i: None, x, x, 4, sampler=DDIM(1.0), **common)
    with pytest.raises(InputError, match="two items of noise"):
        grids.learn(process, lambda i: None, x[:1], x[:1], 4, sampler=DDIM(), **common)
    with pytest.raises(InputError, match="sigma_min between"):
        grids.learn(process, lambda i: None, x, x, 4, sampler=DDIM(), sigma_min=1e9, **common)
    with pytest.raises(InputError, match="first levels are for 1 steps, not 4"):
        grids.learn(
            process, lambda i: None, x, x, 4, sampler=DDIM(), start=Levels((2.0, 1.0)), **common
        )


def test_the_bound_of_a_gaussian_is_its_closed_form():
    """For data N(0, c^2), D(x, r) = x g(r) with g(r) = c^2 / (c^2 + r^2).

    With v(r) = c^2 + r^2, E |g(r) x_r - g(b) x_b|^2 = g(r)^2 v(r) + g(b)^2 v(b) - 2 g(r) g(b) v(r)
    = c^4 (1/v(r) - 1/v(b)). False alarms: 5 standard errors.
    """
    process, c, n = Gaussian(EDM()), 0.7, 40_000
    one = FullMixture(torch.zeros(1, 1), torch.full((1, 1, 1), c * c))
    x0 = one.sample(n, random.derive(0, "data"))
    cost = grids.klub(process, one.denoiser(process), x0, random.derive(0, "noise"))
    for b, a in ((20.0, 5.0), (2.0, 0.5), (0.5, 0.4)):
        r = torch.linspace(math.log(a), math.log(b), 20_001).double().exp()
        v = c * c + r.square()
        f = c**4 * (1 / v - 1 / (c * c + b * b)) / r.square()
        exact = float(torch.trapezoid(f, r.log()))
        # |.|^2 is a chi-square times its mean: relative standard error sqrt(2 / n), larger where
        # the mean varies over the levels
        assert cost(b, a) == pytest.approx(exact, rel=5 * math.sqrt(10 / n))


def test_alignment_lowers_the_bound_and_is_the_same_for_the_same_draws():
    process, data = Gaussian(EDM()), mixture(3)
    denoiser, x0 = data.denoiser(process), data.sample(256, random.derive(3, "data"))

    def aligned(steps):
        return grids.align(
            process, denoiser, x0, steps, generator=random.derive(3, "align"), sigma_min=0.03
        )

    made = aligned(8)
    assert made == aligned(8)
    assert made.steps == 8
    assert (made.levels[0], made.levels[-1]) == (pytest.approx(80), pytest.approx(0.03))
    cost = grids.klub(process, denoiser, x0, random.derive(4, "fresh"))

    def bound(levels):
        return sum(cost(b, a) for b, a in zip(levels, levels[1:], strict=False))

    even = torch.linspace(math.log(80), math.log(0.03), 9).exp().tolist()
    assert bound(made.levels) < 0.7 * bound(even)
    assert aligned(20).steps == 20
    assert bound(aligned(20).levels) < bound(made.levels)


def test_alignment_refuses_an_empty_range():
    with pytest.raises(InputError, match="sigma_min must lie between 0 and 80"):
        grids.align(
            Gaussian(EDM()), Telling(), torch.zeros(2, 1), generator=torch.Generator(),
            sigma_min=90.0,
        )  # fmt: skip
