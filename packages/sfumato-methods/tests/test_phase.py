"""Coupled states: the kit's laws, mutants, closed forms, the bound, solvers, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from sfumato import (
    Ancestral,
    Dirac,
    Fields,
    InputError,
    Padded,
    Product,
    Ragged,
    Unsupported,
    elbo,
    random,
    run,
    sample,
)
from sfumato_methods.gaussian import (
    AGM,
    Centred,
    MatrixDiffusion,
    TimeVarying,
    agm,
    alda,
    cld,
    malda,
    vp,
)
from sfumato_methods.solvers import DPMSolverPP, Heun, PhaseAB
from sfumato_testing import Case, DiagonalMixture, FullMixture, checks, checks_of, failures
from sfumato_testing.book import number

FLOAT = torch.float64
X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=FLOAT)
ONE = DiagonalMixture(X0[:1], [torch.tensor([0.3, -0.2, 0.1])], [torch.tensor([0.5, 0.8, 0.3])])
TWO = DiagonalMixture(X0[:1], [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])
ROWS = Ragged(
    torch.linspace(-1, 1.4, 10, dtype=FLOAT).reshape(5, 2), torch.tensor([0, 0, 2, 2, 2]), 3
)
ONE_ROWS = Ragged(ROWS.data[:3], torch.zeros(3, dtype=torch.long), 1)
PLACES = Padded(
    torch.linspace(-1, 1.2, 12, dtype=FLOAT).reshape(2, 3, 2),
    torch.tensor([[True, True, False], [True, True, True]]),
)
ALL = (Ancestral(), Heun(), PhaseAB(3))


def seeing(process, target):
    """The exact denoiser of a target, which is shown what the coupled state says of the data."""
    inner = target.denoiser(process.observed)
    return lambda u, t: inner(process.observe(u, t), t)


def known(process, target=ONE, x0=X0, **options):
    return Case(process, x0, exact=seeing(process, target), data=target.sample, **options)


@checks(
    known(cld(), samplers=ALL, name="cld"),
    known(cld(), TWO, name="cld-mixture"),
    known(alda(), name="alda"),
    known(agm(), samplers=ALL, name="agm"),
    Case(cld(learn=True), X0, name="learned"),
    Case(malda(), PLACES, name="malda-Padded"),
)
def test_families(case, check):
    check(case)


def test_points_with_a_centre_and_products_keep_the_laws():
    sheared = MatrixDiffusion(
        [[0, 0], [0, 1]], [[0, -1], [1, 0]], [1, 0.25], [0.01], (4, 4), space=Centred()
    )
    target = DiagonalMixture(ONE_ROWS, [0.0], [0.6], space=Centred())
    case = known(sheared, target, Centred().project(ROWS), frames=False)
    # the divergence of C10 is taken in all directions, also across the subspace
    assert failures(case).keys() == {"C10"}
    pair = Product({"pos": cld(), "size": vp()})
    assert failures(Case(pair, Fields(pos=X0, size=X0[:, 0]))) == {}


class StartForgotten(MatrixDiffusion):
    """The variance of the velocities at the start left out of the bridge."""

    def _landing(self, t):
        data, keep, factor = super()._landing(t)
        return data, keep, factor * 0

    def _inner(self, t, s):
        data, keep, factor = super()._inner(t, s)
        return data, keep, factor * torch.tensor([[1.0, 1.0], [1.0, 0.5]])


class PlusForMinus(AGM):
    """The coupling at the prior with the wrong sign, in the marginal alone."""

    def moments(self, t):
        return super().moments(t) if bool((t == 1).all()) else AGM(coupling=-0.2).moments(t)


class NoDrift(MatrixDiffusion):
    """A flow that forgets half of the score."""

    def flow(self, t):
        data, keep = super().flow(t)
        return 0.5 * data, keep


CLD = ([[0, 0], [0, 1]], [[0, -1], [1, 0]], [1, 0.25], [0.01], (4, 4))


@pytest.mark.parametrize(
    ("broken", "telling"),
    [
        (StartForgotten(*CLD), "C1"),
        (PlusForMinus(), "C1"),
        (NoDrift(*CLD), "C10"),
    ],
    ids=["start", "sign", "drift"],
)
def test_mutants_are_caught(broken, telling):
    case = Case(broken, X0)
    (check,) = (check for check in checks_of(case) if number(check) == telling)
    with pytest.raises(AssertionError, match=telling):
        check(case)


def test_one_field_is_vp():
    automatic = MatrixDiffusion([[math.sqrt(0.5)]], [[0.0]], [1.0], [], (0.1, 20.0))
    t = torch.tensor([1e-6, 1e-3, 0.1, 0.5, 1.0], dtype=FLOAT)
    a, factor = automatic.moments(t)
    assert torch.allclose(a[:, 0], vp().alpha(t), rtol=1e-12)
    assert torch.allclose(factor[:, 0, 0], vp().sigma(t), rtol=1e-12)
    s = t * torch.tensor([0.999, 0.5, 0.3, 0.2, 1e-4], dtype=FLOAT)
    one = torch.ones(5, 1, dtype=FLOAT)
    law = vp().bridge(one, 0 * one, t, s)
    data, _, root = automatic.step(t, s)
    assert torch.allclose(data[:, :1], law.mean, rtol=1e-9)
    assert torch.allclose(root[:, 0], law.std, rtol=1e-10)


def test_cld_is_its_closed_form():
    """Both eigenvalues are -2 beta: Phi = exp(-2 tau) (I + (A + 2) tau); N(0, M) stands still."""
    t = torch.tensor([0.01, 0.1, 0.4, 1.0], dtype=FLOAT)
    a, factor = cld().moments(t)
    drift = torch.tensor([[0.0, 4.0], [-1.0, -4.0]], dtype=FLOAT)
    eye, tau = torch.eye(2, dtype=FLOAT), 4 * t[:, None, None]
    phi = torch.exp(-2 * tau) * (eye + (drift + 2 * eye) * tau)
    mass, start = torch.tensor([1, 0.25]).double().diag(), torch.tensor([0, 0.01]).double().diag()
    assert torch.allclose(a, phi[..., 0], atol=1e-12)
    want = mass - phi @ (mass - start) @ phi.mT
    assert torch.allclose(factor @ factor.mT, want, atol=1e-12)


@pytest.mark.parametrize("h", [1e-6, 1e-3])
def test_short_steps_are_exact_in_each_entry(h):
    """The last two fields of ALDA: an integral of a Brownian motion, and the motion."""
    process, now = alda(), torch.tensor(0.5, dtype=FLOAT)
    _, v = process.between(now, now + h)
    span = float(now + h - now) * 6
    noise = 2 * math.sqrt(27)
    want = noise * torch.tensor([[8 * span**3 / 3, 8**0.5 * span**2 / 2], [0, span]]).double()
    got = torch.stack([v[1, 1], v[1, 2], v[2, 2]])
    want = torch.stack([want[0, 0], want[0, 1], want[1, 1]])
    assert torch.allclose(got, want, rtol=30 * span, atol=0)
    assert float(v[0, 0]) == pytest.approx(noise * 8 * span**5 / 20, rel=30 * span)


def test_noise_that_does_not_reach_a_field_is_refused():
    stuck = MatrixDiffusion([[0, 0], [0, 1]], [[0, 0], [0, 0]], [1, 1], [0.1], (4, 4))
    with pytest.raises(InputError, match="noise does not reach every field"):
        stuck.marginal(X0, torch.tensor(0.5, dtype=FLOAT))
    for wrong in ({"start": [0.0]}, {"rotation": [[0, 1], [1, 0]]}, {"mass": [1.0]}):
        options = dict(zip(("damping", "rotation", "mass", "start", "beta"), CLD, strict=True))
        with pytest.raises(InputError):
            MatrixDiffusion(**(options | wrong))


def test_the_bound_is_the_likelihood_of_normal_data():
    process, copies = cld(), 4000
    x0 = X0.repeat(copies, 1)
    grid = torch.linspace(1, 0, 5, dtype=FLOAT)
    nats = elbo(process, seeing(process, ONE), x0, grid, random.derive(0, "bound"))
    nats = nats.reshape(copies, 2)
    z = (nats.mean(0) - ONE.nll(X0)) / (nats.std(0) / copies**0.5)
    assert float(z.abs().max()) < 5  # false alarms: 1e-6


def test_any_drift_agrees_with_the_constant_one_and_with_an_ode():
    fixed = cld()
    drift, noise = fixed._matrices()
    same = TimeVarying(
        lambda t: 4 * drift.expand(*t.shape, 2, 2),
        lambda t: 4 * noise.expand(*t.shape, 2, 2),
        [0.01],
    )
    t = torch.tensor([0.05, 0.3], dtype=FLOAT)
    for got, want in zip(same.moments(t), fixed.moments(t), strict=True):
        assert torch.allclose(got, want, rtol=1e-9)

    def turning(t):
        return torch.stack(
            [torch.stack([-t, 1 + t]), torch.stack([-1 - 3 * t, -2 * t.cos()])]
        ).movedim((0, 1), (-2, -1))

    def growing(t):
        return torch.diag_embed(torch.stack([0.1 + t, 1 + t * t], -1))

    def rate(t, y):
        a, b = (f(torch.tensor(t, dtype=FLOAT)).numpy() for f in (turning, growing))
        p = y.reshape(2, 2)
        return (a @ p + p @ a.T + b).ravel()

    found = solve_ivp(rate, [0, 0.8], [0, 0, 0, 0.2], rtol=1e-11, atol=1e-13).y[:, -1]
    factor = TimeVarying(turning, growing, [0.2]).moments(torch.tensor(0.8, dtype=FLOAT))[1]
    assert np.allclose((factor @ factor.mT).flatten(), found, rtol=1e-7)


def test_agm_has_the_covariance_of_its_equation_and_the_sign_of_its_coupling():
    def rate(tau, y):
        p, left = y.reshape(2, 2), 1 - tau
        a = np.array([[0, 1], [-4 / left**2, -4 / left]])
        return (a @ p + p @ a.T + np.diag([0, 9 * left**2])).ravel()

    at = [0.1, 0.5, 0.9, 0.99]
    found = solve_ivp(rate, [0, 0.99], [1, -0.2, -0.2, 1], t_eval=at, rtol=1e-12, atol=1e-14).y.T
    a, factor = agm().moments(1 - torch.tensor(at, dtype=FLOAT))
    assert np.allclose((factor @ factor.mT).flatten(1), found, rtol=1e-8)
    assert found[1, 0] == pytest.approx(0.439, abs=1e-3)  # the value of a simulation, 0.436
    tau = torch.tensor(at, dtype=FLOAT)
    assert torch.allclose(a[:, 0], tau**2 * (tau**2 - 4 * tau + 6) / 3)
    assert torch.allclose(a[:, 1], 4 / 3 * tau * (tau**2 - 3 * tau + 3))


def test_a_large_and_a_small_step_of_agm_meet():
    """Gauss's rule and the closed form, where one takes over from the other."""
    t, s = torch.ones(2, dtype=FLOAT), torch.tensor([0.4999999, 0.5000001], dtype=FLOAT)
    below, above = agm().step(t, s)[2]
    assert torch.allclose(below, above, atol=2e-6)
    rule, modes = agm()._by_rule(t, s), agm()._by_modes(t, s)
    assert torch.allclose(rule @ rule.mT, modes @ modes.mT, rtol=1e-12)


@pytest.mark.parametrize("process", [cld(), alda(), malda(), agm()], ids=repr)
def test_what_is_observed_is_a_schedule(process):
    view = process.observed
    t = torch.tensor([1e-5, 1e-3, 0.1, 0.5, 0.9], dtype=FLOAT)
    assert torch.allclose(view.time(view.logsnr(t)), t, rtol=1e-9)
    assert torch.allclose(view.alpha(t).square() + view.sigma(t).square(), torch.ones(5).double())
    t = torch.tensor([0.05, 0.3, 0.6], dtype=FLOAT)
    for rate, value in zip(view.schedule.rates(t), (view.alpha, view.sigma), strict=True):
        slope = (value(t + 1e-6) - value(t - 1e-6)) / 2e-6
        assert torch.allclose(rate, slope, rtol=1e-5, atol=1e-8)
    u = process.marginal(X0, t[:2]).mean
    assert torch.allclose(process.observe(u, t[:2]), X0 * view.alpha(t[:2])[:, None])


@pytest.mark.parametrize("order", [2, 3])
def test_phase_ab_converges_at_its_order(order):
    process = cld()
    cov = torch.tensor([[[0.1, 0.03], [0.03, 0.05]]] * 2, dtype=FLOAT)
    target = FullMixture(torch.tensor([[0.5, -1.0], [-0.5, 0.7]]), cov)
    denoise = seeing(process, target)
    start = torch.tensor(0.9, dtype=FLOAT)
    x0 = target.sample(32, random.derive(0, "x0"))
    u = process.marginal(x0, start).sample(random.derive(0, "u"))

    def end(sampler, steps):
        grid = torch.linspace(0.9, 0.2, steps + 1, dtype=FLOAT)
        for frame in run(sampler, process, denoise, u, grid, torch.Generator()):
            x = frame.after
        return torch.cat([x["x"], x["v"]], 1)

    fine = end(PhaseAB(3), 384)
    errors = [float((end(PhaseAB(order), n) - fine).square().mean().sqrt()) for n in (48, 96)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_solvers_that_need_alpha_and_sigma_say_so():
    grid = torch.linspace(1, 0, 4, dtype=FLOAT)
    options = {"grid": grid, "generator": torch.Generator()}
    half = lambda u, t: Dirac(u["x"] * 0.5)  # noqa: E731
    with pytest.raises(Unsupported, match="DPMSolverPP needs AFFINE"):
        sample(cld(), half, X0, sampler=DPMSolverPP(), **options)
    with pytest.raises(Unsupported, match="coupled states"):
        sample(vp(), lambda x, t: Dirac(x), X0, sampler=PhaseAB(), **options)
    with pytest.raises(InputError, match="Product"):
        cld().marginal(Fields(a=X0), grid[1])
    with pytest.raises(InputError, match="fields x, v"):
        cld().bridge(X0, X0, grid[1], grid[2])


def test_learned_matrices_get_gradients_from_the_bound():
    process = cld(learn=True)
    grid = torch.linspace(1, 0, 4, dtype=FLOAT)
    denoise = seeing(process, ONE)
    elbo(process, denoise, X0, grid, random.derive(0, "learn")).sum().backward()
    for parameter in (process.damping, process.rotation):
        assert parameter.grad.isfinite().all() and (parameter.grad != 0).any()
