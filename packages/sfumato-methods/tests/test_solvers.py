"""Deterministic solvers: what they are exact for, what they call, and the edges of their range."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal, getcontext
from math import factorial

import numpy as np
import pytest
import torch

from sfumato import Dirac, InputError, Unsupported, expand, random, run, sample
from sfumato.sampling import Point
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import (
    DDIM,
    IPNDM,
    RK4,
    Angular,
    Dopri5,
    DPMSolver,
    DPMSolverAdaptive,
    DPMSolverPP,
    Euler,
    ExponentialAB,
    Heun,
    RhoAB,
    RhoRK,
    Thresholded,
    TimeAB,
    UniPC,
    singlestep_grid,
    singlestep_orders,
)
from sfumato_methods.solvers.exponential import phi
from sfumato_testing import DiagonalMixture, FullMixture

FLOAT = torch.float64
ONCE = (
    DDIM(),
    DPMSolverPP(2),
    DPMSolverPP(3),
    *(ExponentialAB(k, p) for k in (1, 2, 3, 4) for p in ("data", "noise")),
    *(method(k) for method in (TimeAB, RhoAB, IPNDM) for k in (0, 3)),
    *(UniPC(k, p) for k in (1, 2, 3) for p in ("data", "noise")),
    *(Angular(k) for k in (2, 3, 4)),
    *(DPMSolver(k, p) for k in (1, 2, 3) for p in ("data", "noise")),
)
OFTEN = (Heun(), RK4(), RhoRK(2), RhoRK(3), RhoRK(4))
SCHEDULES = (VP(), VE(), Linear(), Cosine(), EDM(), VP.from_betas(torch.linspace(1e-4, 0.02, 1000)))
PROCESSES = tuple(Gaussian(s) for s in SCHEDULES)
DATA = DiagonalMixture(torch.zeros(1, 3, dtype=FLOAT), [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])


def drawn(process, sampler, grid, x=None, denoiser=None):
    """Where a sampler takes a fixed state."""
    x = torch.linspace(-1.5, 2, 12, dtype=FLOAT).reshape(4, 3) if x is None else x
    denoiser = denoiser or DATA.denoiser(process)
    for frame in run(sampler, process, denoiser, x, grid, torch.Generator()):
        x = frame.after
    return x


class Counting:
    """A denoiser that counts its calls."""

    def __init__(self, process):
        self.inner = DATA.denoiser(process)
        self.calls = 0

    def __call__(self, x, t):
        self.calls += 1
        return self.inner(x, t)


def test_phi_to_the_last_digits():
    getcontext().prec = 80
    z = torch.tensor([-40.0, -3, -1.0001, -0.9999, -0.1, -1e-9, 0, 1e-5, 0.99, 1.01, 7, 30])
    z = z.double()
    for k, got in enumerate(phi(5, z), start=1):
        for value, point in zip(got.tolist(), z.tolist(), strict=True):
            x = Decimal(point)
            want = sum(x**j / Decimal(factorial(j + k)) for j in range(300)) if point else None
            want = float(want) if point else 1 / factorial(k)
            assert value == pytest.approx(want, rel=3e-14)


def _polynomial(kind, degree):
    """Values at any time of a polynomial in log(alpha/sigma), t, sigma/alpha or an angle."""

    def values(process, t):
        alpha, sigma = process.alpha(t), process.sigma(t)
        rho = sigma / alpha
        u = {"logsnr": -rho.log(), "time": t, "rho": rho, "angle": (rho / 1.5).atan()}[kind]
        return sum((0.3 + 0.2 * k) * (-u) ** k for k in range(degree + 1))

    return values


def _flow(process, values, predict, x, t, s):
    """The flow from t to s if the data (or the noise) is predicted as `values`, by quadrature."""
    at, mass = np.polynomial.legendre.leggauss(60)
    lam = 0.5 * process.logsnr(torch.stack([t, s]))
    nodes = lam[0] + (lam[1] - lam[0]) * torch.as_tensor(0.5 + 0.5 * at)
    mass = torch.as_tensor(0.5 * mass) * (lam[1] - lam[0])
    inner = values(process, process.time(2 * nodes))
    alpha, sigma = process.alpha(s), process.sigma(s)
    if predict == "data":
        return x * sigma / process.sigma(t) + sigma * (mass * nodes.exp() * inner).sum()
    return x * alpha / process.alpha(t) - alpha * (mass * (-nodes).exp() * inner).sum()


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(Linear()), Gaussian(EDM())], ids=repr)
@pytest.mark.parametrize(
    ("sampler", "kind", "degree"),
    [
        *((ExponentialAB(k, p), "logsnr", k - 1) for k in (1, 2, 3, 4) for p in ("data", "noise")),
        *((UniPC(k, p, "exact"), "logsnr", k - 1) for k in (1, 2, 3) for p in ("data", "noise")),
        (DPMSolverPP(3), "logsnr", 2),
        *((Angular(k, 1.5), "angle", k - 1) for k in (2, 3, 4)),
        *((TimeAB(k), "time", k) for k in range(4)),
        *((RhoAB(k), "rho", k) for k in range(4)),
    ],
    ids=str,
)
def test_polynomials_are_integrated_exactly(process, sampler, kind, degree):
    data = isinstance(sampler, (DPMSolverPP, Angular))
    predict = getattr(sampler, "predict", "data" if data else "noise")
    corrects = isinstance(sampler, (UniPC, Angular))  # the step before, too
    values = _polynomial(kind, degree)

    def denoiser(x, t):
        value = values(process, t)
        if predict == "noise":
            value = (x - process.sigma(t) * value) / process.alpha(t)
        return Dirac(torch.zeros_like(x) + value)

    grid = torch.tensor([0.8, 0.72, 0.7, 0.55, 0.4, 0.31, 0.2], dtype=FLOAT)
    for times in (grid, grid.flip(0)):
        frames = run(sampler, process, denoiser, torch.ones(1, 2, dtype=FLOAT), times, None)
        for i, frame in enumerate(frames):
            if i < degree + corrects:
                continue
            want = _flow(process, values, predict, frame.before, frame.t, frame.s)
            assert torch.allclose(frame.after, want, rtol=1e-9, atol=1e-9), i


@pytest.mark.parametrize(
    "sampler",
    [ExponentialAB(1), ExponentialAB(1, "noise"), TimeAB(0), RhoAB(0), IPNDM(0), DPMSolver(1)],
    ids=str,
)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_order_one_is_ddim(process, sampler):
    grid = grids.karras(process, 7)
    assert torch.allclose(drawn(process, sampler, grid), drawn(process, DDIM(), grid), rtol=1e-12)


def test_ipndm_is_adams_bashforth_on_equal_steps_in_rho():
    process = Gaussian(EDM())
    grid = torch.linspace(0.5, 0.01, 9, dtype=FLOAT)
    for degree in range(4):
        same = drawn(process, IPNDM(degree), grid), drawn(process, RhoAB(degree), grid)
        assert torch.allclose(*same, rtol=1e-10)
    weights = IPNDM(3).plan(process, grid)[-1]
    h = float(process.sigma(grid[-1]) - process.sigma(grid[-2]))
    signal = [-1 / float(process.sigma(t)) for t in grid[-5:-1].flip(0)]
    eps = [d / (h * s) for d, s in zip(weights[-3:], signal[1:], strict=True)]
    assert eps == pytest.approx([-59 / 24, 37 / 24, -9 / 24], rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_calls_are_counted_exactly(process, steps):
    grid = grids.logsnr(process, steps)
    for sampler in ONCE:
        denoiser = Counting(process)
        drawn(process, sampler, grid, denoiser=denoiser)
        assert denoiser.calls == steps, sampler
    for sampler, stages in ((RK4(), 4), (RhoRK(2), 2), (RhoRK(3), 3), (RhoRK(4), 4), (Heun(), 2)):
        denoiser = Counting(process)
        drawn(process, sampler, grid, denoiser=denoiser)
        plain = 1 + (isinstance(sampler, RhoRK) and float(process.alpha(grid[0])) == 0)
        assert denoiser.calls == max(1, stages * (steps - plain) + plain - (plain > steps)), sampler


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_few_steps_from_end_to_end_are_finite_with_gradients(process):
    items = torch.tensor([[1.0, 1, 1, 1], [0.5, 1, 0.3, 0.5], [0.5, 0.2, 0, 0.1], [0, 0.2, 0, 0]])
    denoise = DATA.denoiser(process)
    chosen = [torch.tensor(g, dtype=FLOAT) for g in ([1, 0], [1, 0.5, 0], [1, 0.7, 0.2, 0.05, 0])]
    for sampler, grid in itertools.product(ONCE + OFTEN, [*chosen, items.double()]):
        times = grid.clone().requires_grad_()
        x = torch.linspace(-1.5, 2, 12, dtype=FLOAT).reshape(4, 3).requires_grad_()
        # what an exact denoiser itself says near t = 0 has an infinite derivative in t
        end = drawn(process, sampler, times, x, lambda x, t: denoise(x, t.detach()))
        assert bool(end.isfinite().all()), (sampler, grid)
        for gradient in torch.autograd.grad(end.square().sum(), [times, x], allow_unused=True):
            assert gradient is None or bool(gradient.isfinite().all()), (sampler, grid)


def test_gradients_of_a_grid_are_those_of_finite_differences():
    process = Gaussian(VP())
    grid = torch.tensor([1.0, 0.8, 0.55, 0.3, 0.12, 0.0], dtype=FLOAT)
    for sampler in (*ONCE, RK4(), RhoRK(3)):
        times = grid.clone().requires_grad_()
        (got,) = torch.autograd.grad(drawn(process, sampler, times).sum(), times)
        for i in range(1, 5):
            move = torch.zeros_like(grid).index_fill(0, torch.tensor(i), 1e-6)
            ends = [drawn(process, sampler, grid + sign * move).sum() for sign in (1, -1)]
            assert float(got[i]) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=2e-5), i


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_states_of_less_precision(dtype):
    process = Gaussian(VP())
    eps = torch.finfo(dtype).eps
    x = torch.linspace(-1.5, 2, 12, dtype=FLOAT).reshape(4, 3).to(dtype)

    def denoiser(x, t):
        return Dirac(torch.tanh(x))

    cases = [*itertools.product(ONCE, (2, 10)), *itertools.product(OFTEN, (10,))]
    for sampler, steps in cases:  # one long step in sigma/alpha has stages of any size
        grid = grids.logsnr(process, steps)
        got = drawn(process, sampler, grid, x, denoiser)
        want = drawn(process, sampler, grid, x.double(), denoiser)
        assert got.dtype == dtype
        assert float((got.double() - want).abs().max()) < 60 * eps, (sampler, steps)


def test_layouts_and_empty_batches():
    process = Gaussian(VP())
    grid = grids.logsnr(process, 5)
    x = torch.linspace(-2, 2, 2 * 3 * 4 * 5, dtype=FLOAT).reshape(2, 3, 4, 5)

    def denoiser(x, t):
        return Dirac(x * 0.5)

    views = (
        x.to(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
    )
    for sampler in (*ONCE, *OFTEN, Dopri5(), DPMSolverAdaptive()):
        want = drawn(process, sampler, grid, x, denoiser)
        for view in views:
            got = drawn(process, sampler, grid, view, denoiser)
            assert torch.allclose(got, want, rtol=1e-12, atol=0)
        assert drawn(process, sampler, grid, x[:0], denoiser).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("sampler", ONCE, ids=str)
def test_a_step_can_be_traced(sampler):
    process = Gaussian(VP())
    row = sampler.plan(process, grids.logsnr(process, 6))[4]

    def step(*states):
        past = [Point(None, x, Dirac(0.5 * x)) for x in states]
        return sampler.advance(row, process, past, None, None)

    states = [torch.full((2, 3), 0.1 * k) for k in range(sampler.memory)]
    torch._dynamo.reset()
    compiled = torch.compile(step, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*states), step(*states))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 40, 300])
def test_focused_steps_are_equal_in_a_sigmoid_plus_logsnr(process, steps):
    grid = grids.focused(process, steps)
    assert grid.shape == (steps + 1,) and grid[0] == 1 and grid[-1] == 0
    assert bool((grid.diff() < 0).all())
    if steps < 3:
        return
    log_level = -0.5 * process.logsnr(grid[1:-1])
    top = min(160.0, float((-0.5 * process.logsnr(grid.new_ones(()))).exp()))
    log_level = torch.cat([grid.new_tensor([top]).log(), log_level])
    climbed = ((log_level - torch.tensor(3.2).double().log()) / 0.3).sigmoid() + 0.18 * log_level
    assert torch.allclose(climbed.diff(), climbed.diff()[:1].expand(steps - 1), atol=1e-6)
    shifted = grids.focused(process, steps, scale=2.0, width=1.0, spread=0.0)[1:-1]
    share = process.sigma(shifted) / (process.sigma(shifted) + 2 * process.alpha(shifted))
    assert torch.allclose(share.diff(), share.diff()[:1].expand(steps - 2), atol=1e-6)


def test_a_bound_lowers_the_order_of_long_steps():
    process = Gaussian(VP())
    even = grids.logsnr(process, 200)
    assert ExponentialAB(3, bound=4).plan(process, even) == ExponentialAB(3).plan(process, even)
    jump = torch.cat([process.time(2 * torch.tensor([-2.0, -1.9, -1.8, -1.7, 1.0]).double())])
    for sampler in (ExponentialAB(4), ExponentialAB(4, "noise"), UniPC(3)):
        size = []
        for bound in (1.0, 60.0, float("inf")):
            row = replace(sampler, bound=bound).plan(process, jump)[-1]
            size.append(sum(abs(c) for c in row[1:]))
        assert size[0] < size[1] < size[2] / 5, sampler
    assert ExponentialAB(4, bound=1).plan(process, even)[5][1:] == pytest.approx(
        [*DDIM().plan(process, even)[5][1:2], 0, 0, 0]
    )


@pytest.mark.parametrize(
    ("calls", "order", "want"),
    [(9, 3, [3, 3, 2, 1]), (10, 3, [3, 3, 3, 1]), (11, 3, [3, 3, 3, 2]), (3, 3, [2, 1]),
     (1, 3, [1]), (2, 3, [2]), (7, 2, [2, 2, 2, 1]), (4, 1, [1, 1, 1, 1])],
)  # fmt: skip
def test_orders_of_single_steps(calls, order, want):
    assert singlestep_orders(calls, order) == want and sum(want) == calls


@pytest.mark.parametrize("calls", [4, 9, 10, 11])
@pytest.mark.parametrize("order", [2, 3])
def test_single_steps_are_the_published_algorithms(order, calls):
    """Lu et al. 2022, arXiv:2206.00927, algorithms 4 and 5, from their text."""
    process = Gaussian(VP())
    denoise = DATA.denoiser(process)
    grid = singlestep_grid(process, calls, order, sigma_min=0.01)
    lam = 0.5 * process.logsnr(grid)
    x = torch.linspace(-1.5, 2, 12, dtype=FLOAT).reshape(4, 3)
    want, i = x, 0

    def eps(x, at):
        t = process.time(2 * at)
        return (x - process.alpha(t) * denoise(x, t).mean) / process.sigma(t)

    def scales(at):
        t = process.time(2 * at)
        return process.alpha(t), process.sigma(t)

    while i < calls - 1:
        k = min(order, calls - 1 - i)
        start, end = lam[i], lam[i + k]
        h = end - start
        e, (a0, _), (a, s) = eps(want, start), scales(start), scales(end)
        if k == 1:
            want = a / a0 * want - s * torch.expm1(h) * e
        elif k == 2:
            au, su = scales(start + h / 2)
            u = au / a0 * want - su * torch.expm1(h / 2) * e
            want = a / a0 * want - s * torch.expm1(h) * eps(u, start + h / 2)
        else:
            a1, s1 = scales(start + h / 3)
            u = a1 / a0 * want - s1 * torch.expm1(h / 3) * e
            d1 = eps(u, start + h / 3) - e
            a2, s2 = scales(start + 2 * h / 3)
            way = 2 / 3 * h
            u = a2 / a0 * want - s2 * torch.expm1(way) * e
            u = u - 2 * s2 * (torch.expm1(way) / way - 1) * d1
            d2 = eps(u, start + 2 * h / 3) - e
            want = a / a0 * want - s * torch.expm1(h) * e
            want = want - 1.5 * s * (torch.expm1(h) / h - 1) * d2
        i += k
    want = denoise(want, grid[-2]).mean
    assert torch.allclose(drawn(process, DPMSolver(order), grid, x), want, rtol=1e-9, atol=1e-10)


def _one_normal():
    return FullMixture(
        torch.tensor([[0.5, -1.0]]), torch.tensor([[[0.6, 0.3], [0.3, 0.4]]], dtype=FLOAT)
    )


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(EDM()), Gaussian(Cosine())], ids=repr)
@pytest.mark.parametrize(
    ("make", "scale"),
    [(lambda tol: Dopri5(tol, tol), 10), (lambda tol: DPMSolverAdaptive(3, tol, tol), 100)],
)
def test_adaptive_solvers_keep_their_tolerance(make, scale, process):
    target = _one_normal()
    generator = torch.Generator().manual_seed(1)
    start = torch.tensor(0.9, dtype=FLOAT)
    x = process.marginal(target.sample(64, generator), start).sample(generator)
    for grid in ([0.9, 0.5, 0.01], [0.9, 0.9, 0.01]):
        times = torch.tensor(grid, dtype=FLOAT)
        want = target.flow(process, x, times[0], times[-1])
        for tolerance in (1e-3, 1e-5):
            got = drawn(process, make(tolerance), times, x, target.denoiser(process))
            assert float((got - want).abs().max()) < scale * tolerance


def test_an_adaptive_solver_stops_where_its_calls_end():
    process = Gaussian(VP())
    grid = grids.explicit([1.0, 1e-3, 0.0])
    for sampler in (Dopri5(1e-6, 1e-6, calls=20), DPMSolverAdaptive(3, 1e-6, 1e-6, calls=20)):
        denoiser = Counting(process)
        with pytest.raises(InputError, match="used its 20 calls"):
            drawn(process, sampler, grid, denoiser=denoiser)
        assert denoiser.calls == 20
    frames = torch.linspace(1, 0, 4, dtype=FLOAT)[:, None, None].expand(4, 4, 3)
    for sampler in (Dopri5(), DPMSolverAdaptive()):
        with pytest.raises(Unsupported, match="not for each frame or field"):
            drawn(process, sampler, frames)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ExponentialAB(5), "order must be 1 to 4"),
        (lambda: ExponentialAB(2, "v"), 'predict must be "data" or "noise"'),
        (lambda: DPMSolverPP(1), "order must be 2 or 3"),
        (lambda: DPMSolver(4), "order must be 1 to 3"),
        (lambda: RhoAB(4), "degree must be 0 to 3"),
        (lambda: UniPC(3, bound=0.5), "bound must be at least 1"),
        (lambda: Angular(5), "order must be 2, 3 or 4"),
        (lambda: Angular(3, 0.0), "scale must be positive and finite"),
        (lambda: grids.focused(Gaussian(VP()), 0), "at least 1 step"),
        (lambda: grids.focused(Gaussian(VP()), 5, sigma_min=200.0), "sigma_min must lie"),
        (
            lambda: grids.focused(Gaussian(VP()), 5, width=0.0),
            "scale > 0, width > 0 and spread >= 0",
        ),
        (lambda: UniPC(4), "order must be 1 to 3"),
        (lambda: UniPC(2, slope="bh3"), 'slope must be "exact", "expm1" or "h"'),
        (lambda: RhoRK(5), "order must be 2, 3 or 4"),
        (lambda: Dopri5(-1.0), "atol and rtol must be positive"),
        (lambda: DPMSolverAdaptive(calls=0), "calls must be at least 1"),
        (lambda: DPMSolverAdaptive(order=1), "order must be 2 or 3"),
        (lambda: singlestep_orders(0), "calls >= 1"),
        (lambda: singlestep_grid(Gaussian(VP()), 1), "needs 2 calls or more"),
        (lambda: singlestep_grid(Gaussian(Linear()), 2), "needs 3 calls or more"),
        (lambda: Thresholded(Constant(), 0.0), "quantile must lie in"),
        (lambda: Thresholded(Constant(), limit=0.0), "limit must be positive"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(make, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        make()


class Constant(torch.nn.Module):
    """Predicts the same whatever it is given."""

    def __init__(self, mean=None):
        super().__init__()
        self.mean = mean

    def forward(self, x, t):
        return Dirac(self.mean)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.995, 1.0])
def test_thresholding_is_the_published_formula(quantile):
    """Saharia et al. 2022, arXiv:2205.11487, section 2.3."""
    mean = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2
    got = Thresholded(Constant(mean), quantile)(mean, torch.ones(())).mean
    cut = torch.quantile(mean.abs().flatten(1), quantile, dim=1).clamp_min(1).reshape(5, 1, 1, 1)
    assert torch.allclose(got, mean.clamp(-cut, cut) / cut, rtol=1e-6)
    assert float(got.abs().max()) <= 1 + 1e-6
    small = mean * 0.1
    inside = Thresholded(Constant(small.clamp(-1, 1)), quantile)(mean, torch.ones(())).mean
    assert torch.equal(inside, small.clamp(-1, 1))


def test_thresholding_makes_guided_samples_stay_in_range():
    process = Gaussian(VP())

    class Wild(Constant):
        def forward(self, x, t):
            return Dirac(x * expand(x, 1 / process.alpha(t)) * 1.5)

    ends = [
        sample(
            process, denoiser, torch.zeros(4, 3, 2, 2), sampler=UniPC(2),
            grid=grids.logsnr(process, 8), generator=torch.Generator().manual_seed(1),
        )
        for denoiser in (Wild(), Thresholded(Wild()))
    ]  # fmt: skip
    assert float(ends[0].abs().max()) > 10 and float(ends[1].abs().max()) <= 1 + 1e-6


def test_euler_and_heun_are_as_they_were():
    process = Gaussian(Linear())
    grid = torch.linspace(1, 0.2, 5, dtype=FLOAT)
    x = torch.ones(1, 3, dtype=FLOAT)
    denoise = DATA.denoiser(process)
    want = x
    for t, s in itertools.pairwise(grid):
        want = want + (s - t) * (want - denoise(want, t).mean) / t
    assert torch.allclose(drawn(process, Euler(), grid, x), want, rtol=1e-12)


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(Linear()), Gaussian(EDM())], ids=repr)
@pytest.mark.parametrize("times", [[1.0, 0.6, 0.3, 0.0], [0.1, 0.4, 0.9]], ids=["down", "up"])
def test_euler_in_two_operations_is_euler_by_velocities(process, times):
    """A shared grid is combined, one for each item is not."""
    grid = torch.tensor(times, dtype=torch.float64)
    x = process.prior(torch.empty(3, 2, dtype=torch.float64)).sample(random.derive(0, "x"))
    shared, each = (
        [f.after for f in run(Euler(), process, lambda x, t: Dirac(torch.tanh(x)), x, g, None)]
        for g in (grid, grid[:, None].expand(-1, 3))
    )
    for a, b in zip(shared, each, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
