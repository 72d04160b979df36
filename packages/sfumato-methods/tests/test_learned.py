"""Learned forward processes: their formulas, their limits, and what gradients reach."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sfumato import (
    Can,
    Dirac,
    InputError,
    Mixture,
    Normal,
    Unsupported,
    elbo,
    kl,
    random,
    registry,
)
from sfumato_methods.bounds import Continuous, Decoded, Stepwise
from sfumato_methods.gaussian import VP, Gaussian, Linear, Phase, vp
from sfumato_methods.learned import NDM, NFDM, FPDiff, FullNormal, Pointwise, bend, ndm, nfdm
from sfumato_testing import DiagonalMixture, Enumerated, FullMixture

FLOAT = torch.float64
X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=FLOAT)


def at(value):
    return torch.tensor(value, dtype=FLOAT)


def warp(seed, size=0.3, width=6):
    """A network that bends, its weights a function of the seed."""
    net = Pointwise(width).double()
    with torch.no_grad():
        net.gain.copy_(size * random.normal(net.gain, random.derive(seed, "gain")))
    return net


def turning(dimensions=3, seed=1):
    """FP-Diffusion with R and w far from those of VP."""
    process = FPDiff(dimensions, rank=1)
    generator = random.derive(seed, "fpdiff")
    with torch.no_grad():
        process.diagonal.copy_(torch.linspace(0, 0.8, dimensions))
        process.factor.copy_(0.7 * random.normal(process.factor, generator))
        process.skew.copy_(random.normal(process.skew, generator))
    return process


BENT = [NDM(VP(), warp(1)), NFDM(Linear(), warp(2), warp(3)), NFDM(VP(), warp(2))]
every = pytest.mark.parametrize("process", [*BENT, turning()], ids=lambda p: repr(p).split("(")[0])


def half(x, t):
    return Dirac(x * 0.5)


# What nothing learned leaves: the variational diffusion model


@pytest.mark.parametrize("schedule", [VP(), Linear()], ids=repr)
@pytest.mark.parametrize("kind", [ndm, nfdm], ids=["ndm", "nfdm"])
def test_without_weights_a_learned_process_is_the_gaussian_one(kind, schedule):
    """Bounds in continuous and in discrete time, and `elbo`, with equal draws: to 1e-9."""
    base = Gaussian(schedule)
    nets = [Pointwise().double() for _ in range(2 if kind is nfdm else 1)]
    process = (NFDM if kind is nfdm else NDM)(schedule, *nets)
    x0 = X0.repeat(50, 1)
    u = (torch.arange(100, dtype=FLOAT) + 0.5) / 100
    for bound in (Continuous(1e-3), Stepwise(2), Stepwise(50)):
        got, want = (bound(p, half, x0, u, random.derive(0, "draws")) for p in (process, base))
        for name in got._fields:
            assert torch.allclose(getattr(got, name), getattr(want, name), rtol=1e-9, atol=1e-9)
    grid = torch.linspace(1, 0, 9, dtype=FLOAT)
    nats = [
        elbo(p, Decoded(half, p, 0.125), X0, grid, random.derive(0, "elbo"))
        for p in (process, base)
    ]
    assert torch.allclose(*nats, rtol=1e-9)


def test_the_gaussian_bounds_are_those_of_the_variational_diffusion_model():
    """-SNR'/2 |x0 - D|^2, SNR' by differentiation; T/2 (SNR(s) - SNR(t)) |x0 - D|^2 in T steps."""
    process, steps = vp(), 20
    t = torch.linspace(0.06, 0.97, 9, dtype=FLOAT).requires_grad_()
    snr = process.logsnr(t).exp()
    (slope,) = torch.autograd.grad(snr.sum(), t)
    t, x0 = t.detach(), X0[:1].repeat(9, 1)
    x = process.marginal(x0, t).sample(random.derive(0, "x"))
    error = (x0 - 0.5 * x).square().sum(1)
    assert torch.allclose(process.rate(x0, half(x, t), x, t), -0.5 * slope * error, rtol=1e-10)

    u = (torch.arange(9, dtype=FLOAT) + 0.5) / 9
    found = Stepwise(steps)(process, half, x0, u, random.derive(1, "x")).diffusion
    s = ((u * (steps - 1)).floor() + 1) / steps
    t = s + 1 / steps
    x = process.marginal(x0, t).sample(random.derive(1, "x"))
    gap = process.logsnr(s).exp() - process.logsnr(t).exp()
    want = (steps - 1) * 0.5 * gap * (x0 - 0.5 * x).square().sum(1)
    assert torch.allclose(found, want, rtol=1e-8)


# The formulas of neural diffusion models


def test_the_step_of_ndm_is_the_published_one():
    """Bridge and loss of a step written out; transition at a guess; SNR of the Markov choice."""
    process = BENT[0]
    t, s, x = at(0.7), at(0.4), X0 * 0.3 + 0.2
    base = process.base
    (a, b), (c, d) = ((base.alpha(u), base.sigma(u)) for u in (t, s))
    v = d**2 * (1 - (a / b) ** 2 / (c / d) ** 2)
    keep = (d**2 - v).sqrt() / b

    def centre(x0):
        return c * process.transform(x0, s) + keep * (x - a * process.transform(x0, t))

    law, back = process.bridge(X0, x, t, s), process.transition(half(x, t), x, t, s)
    assert torch.allclose(law.mean, centre(X0)) and math.isclose(law.std, float(v.sqrt()))
    assert torch.allclose(back.mean, centre(0.5 * x))
    assert torch.equal(process.transform(X0, at(0.0)), X0)


def test_gradients_reach_the_network_through_both_terms():
    """A network that is zero at zero: with the guess or the data at zero one term alone is left.

    The gradients are those of finite differences.
    """
    net = warp(4)
    with torch.no_grad():
        net.clock.zero_()
        net.shift.zero_()
    process = NDM(VP(), net)
    t, zero, x = at([0.3, 0.6]), torch.zeros_like(X0), 0.4 * X0
    for x0, guess in ((X0, zero), (zero, X0), (X0, 0.5 * X0)):
        for loss in (
            lambda: process.rate(x0, Dirac(guess), x, t).sum(),  # noqa: B023
            lambda: Stepwise(8)(
                process,
                lambda x, t: Dirac(guess),  # noqa: B023
                x0,  # noqa: B023
                at([0.3, 0.6]),
                random.derive(0, "draws"),
            ).diffusion.sum(),
        ):
            (grad,) = torch.autograd.grad(loss(), net.slope)
            numeric = []
            for k in range(2):
                values = []
                for h in (1e-5, -1e-5):
                    with torch.no_grad():
                        net.slope[k] += h
                        values.append(float(loss()))
                        net.slope[k] -= h
                numeric.append((values[0] - values[1]) / 2e-5)
            assert torch.allclose(grad[:2], at(numeric), rtol=1e-4, atol=1e-9)
            assert float(grad.abs().max()) > 1e-4


@every
def test_in_many_steps_the_bound_is_that_of_continuous_time(process):
    """`elbo` on 200 steps down to the start, and the integral: within 4.5 s.e. and 1 %."""
    start, copies = 0.02, 25
    x0 = X0.repeat(copies, 1)
    levels = torch.logspace(0, math.log10(start), 200, dtype=FLOAT)
    grid = torch.cat([levels[:-1], at([start, 0.0])])
    whole = elbo(process, Decoded(half, process, start), x0, grid, random.derive(0, "elbo"))
    times = 60
    generator = random.derive(1, "integral")
    u = torch.stack([random.permutation(len(x0), generator) for _ in range(times)])
    u = (u + random.uniform((times, 1), generator)) / len(x0)
    integral = torch.stack(
        [Continuous(start)(process, half, x0, each, generator).total for each in u]
    )
    whole, integral = whole.detach(), integral.detach()
    mean, want = whole.mean(), integral.mean()
    error = (whole.var() / len(x0) + integral.mean(1).var() / times).sqrt()
    assert abs(float(mean - want)) < 4.5 * float(error) + 0.01 * float(want), (mean, want, error)


@every
def test_no_bound_is_below_the_exact_likelihood(process):
    """Data whose density is known, guesses of several kinds: mean bound > exact nll - 4.5 s.e."""
    target = DiagonalMixture(X0[:1], [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])
    x0 = target.sample(2000, random.derive(0, "data"))
    exact = target.nll(x0)
    u = (random.permutation(2000, random.derive(0, "u")) + 0.5) / 2000
    guess = target.denoiser(vp())  # right for VP, near for what is close to it
    for name, denoiser in (("half", half), ("vp", lambda x, t: Dirac(guess(x, t).mean))):
        for bound in (Continuous(1e-3), Stepwise(6)):
            nats = bound(process, denoiser, x0, u, random.derive(1, name)).total
            gap = (nats - exact).detach()
            error = float(gap.std()) / len(gap) ** 0.5
            assert float(gap.mean()) > -4.5 * error, (name, bound)


def test_with_the_exact_denoiser_the_continuous_bound_is_exact():
    """Up to what the start leaves out: 0.01 nats at most beside 4.5 s.e. (1e-5)."""
    target = DiagonalMixture(X0[:1], [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])
    x0 = target.sample(20_000, random.derive(0, "data"))
    u = (random.permutation(20_000, random.derive(0, "u")) + 0.5) / 20_000
    for process in (vp(), Gaussian(Linear())):
        exact = target.denoiser(process)

        def point(x, t, exact=exact):
            return Dirac(exact(x, t).mean)

        nats = Continuous(1e-3)(process, point, x0, u, random.derive(1, "draws")).total
        gap = nats - target.nll(x0)
        assert abs(float(gap.mean())) < 0.01 + 4.5 * float(gap.std()) / 20_000**0.5


# Neural flow diffusion


def test_both_ends_are_pinned_whatever_the_networks_say():
    process = NFDM(Linear(), warp(2, 5.0), warp(3, 5.0))
    start, end = (process.marginal(X0, at(t)) for t in (0.0, 1.0))
    assert torch.equal(start.mean, X0) and not start.std.any()
    assert not end.mean.any() and torch.equal(end.std, torch.ones_like(X0))


def test_the_bridge_decays_by_the_integral_of_the_volatility():
    """rho by quadrature with four nodes against 2,000 equal cells: 1e-4, over a long step."""
    process = BENT[1]
    t, s = at(0.9), at(0.1)
    rho, spread = process._decay(X0, t, s)
    low, high = process.base.logsnr(t), process.base.logsnr(s)
    level = low + (high - low) * (torch.arange(2000, dtype=FLOAT) + 0.5) / 2000
    each = torch.stack(
        [(-2 * process.moments(X0, process.base.time(v))["width"]).exp() for v in level]
    )
    want = (-0.5 * (high - low) * each.mean(0)).exp()
    assert torch.allclose(rho, want, rtol=2e-3, atol=1e-5)
    assert torch.allclose(rho**2 + spread**2, torch.ones_like(rho))


def test_a_straight_flow_does_not_bend():
    """One point of data under `Linear`: straight. Under VP, as finite differences along the flow.

    The derivative goes with the state: |v(x + h v, t + h) - v(x - h v, t - h)|^2 / (2h)^2.
    """
    process = Gaussian(Linear())
    x0, t, h = X0, at([0.3, 0.8]), 1e-5
    x = process.marginal(x0, t).sample(random.derive(0, "x"))
    assert float(bend(process, lambda x, t: Dirac(X0), x, t).abs().max()) < 1e-18
    for bent in (vp(), *BENT):
        v = bent.velocity(half(x, t), x, t)
        ahead, behind = (bent.velocity(half(x + k * v, t + k), x + k * v, t + k) for k in (h, -h))
        want = ((ahead - behind) / (2 * h)).square().mean(1)
        assert torch.allclose(bend(bent, half, x, t), want, rtol=1e-5)


def test_curvature_is_measured_without_gradients_too():
    class Smooth(nn.Module):
        def forward(self, x, clock):
            return nn.functional.silu(x * clock[:, None])

    process, t = NDM(VP(), Smooth()), at([0.3, 0.8])
    with torch.no_grad():
        found = bend(process, half, X0, t)
    assert not found.requires_grad and torch.allclose(found, bend(process, half, X0, t))


def test_rates_and_velocities_need_points():
    process, x, t = BENT[0], X0 * 0.5, at(0.5)
    with pytest.raises(Unsupported, match="need points.*Normal.*Ancestral"):
        process.velocity(Normal(x, 0.1), x, t)
    law = Enumerated(X0, [0.5, 0.5]).denoiser(process)(x, t)
    assert isinstance(law, Mixture) and process.velocity(law, x, t).shape == x.shape


def test_a_point_estimate_gets_a_density_where_the_process_knows_one():
    x, t = X0 * 0.5, at(1e-3)
    law = Decoded(half, BENT[0], 1e-3)(x, t)
    assert isinstance(law, Normal)
    ratio = BENT[0].base.sigma(t) / BENT[0].base.alpha(t)
    assert torch.allclose(law.std, ratio)
    assert isinstance(Decoded(half, BENT[0], 1e-3)(x, at(0.1)), Dirac)


# A flexible diffusion model


def test_with_identity_and_no_turn_it_is_variance_preserving():
    process, base = FPDiff(3, rank=0), vp()
    x, t, s, q = X0 * 0.4 + 0.1, at(0.6), at(0.35), Dirac(X0 * 0.7)
    for mine, theirs in (
        (process.marginal(X0, t), base.marginal(X0, t)),
        (process.bridge(X0, x, t, s), base.bridge(X0, x, t, s)),
        (process.transition(Normal(X0, 0.3), x, t, s), base.transition(Normal(X0, 0.3), x, t, s)),
    ):
        assert torch.allclose(mine.mean, theirs.mean, rtol=1e-10)
        std = torch.as_tensor(theirs.std, dtype=FLOAT).expand(2, 3)[0]
        assert torch.allclose(mine.factor.expand(2, 3, 3), torch.diag(std), atol=1e-10)
        assert torch.allclose(mine.nll(x), theirs.nll(x), rtol=1e-9)
    for name in ("velocity", "score"):
        got, want = (getattr(p, name)(q, x, t) for p in (process, base))
        assert torch.allclose(got, want, rtol=1e-9)
    assert torch.allclose(process.rate(X0, q, x, t), base.rate(X0, q, x, t), rtol=1e-9)
    assert torch.equal(process.clock(t), base.clock(t))


@torch.enable_grad()
def test_every_r_and_w_leaves_the_standard_normal_at_rest():
    """M M^T + covariance = I; and the residual of Fokker-Planck at N(0, I) vanishes pointwise."""
    process = turning()
    move, covariance = process._travel(at([0.01, 0.7, 9.0]))
    assert torch.allclose(move @ move.mT + covariance, torch.eye(3, dtype=FLOAT), atol=1e-12)
    speed = process.spread() + process.turn()
    x = (X0[0] * 0.8).requires_grad_()

    def current(x):  # -drift p + (beta/2) R grad p over beta/2
        p = (-0.5 * x.square().sum()).exp()
        return -(speed @ x) * p + process.spread() @ (x * p)

    divergence = torch.autograd.functional.jacobian(current, x).trace()
    assert abs(float(divergence)) < 1e-12
    assert float(torch.linalg.eigvalsh(process.spread()).min()) > 0
    assert torch.equal(process.turn(), -process.turn().T)


def test_the_covariance_solves_its_equation_and_keeps_its_digits_near_zero():
    """dS/dage = -(A S + S A^T)/2 + R, A = R + w; and S = age R to first order at age 1e-9."""
    process, h = turning(), 1e-4
    speed, spread = process.spread() + process.turn(), process.spread()
    (_, after), (_, before), (_, here) = (process._travel(at(0.8 + k)) for k in (h, -h, 0.0))
    want = -0.5 * (speed @ here + here @ speed.T) + spread
    assert torch.allclose((after - before) / (2 * h), want, atol=1e-7)
    _, small = process._travel(at(1e-9))
    assert torch.allclose(small / 1e-9, spread, rtol=1e-7, atol=1e-7)


@torch.enable_grad()
def test_the_probability_flow_carries_the_density():
    """d log p/dt + v . grad log p + div v = 0 for p = q(x_t | x_0): 1e-6, at three times.

    This is what C10 tests for processes whose noise is independent number by number; here the
    noise that a draw holds fixed is turned by w as time goes on.
    """
    process, x0 = turning(), X0[:1]
    for value in (0.2, 0.5, 0.9):
        x = (X0[1:] * 0.6).requires_grad_()

        def log_p(x, t):
            return -process.marginal(x0, t).nll(x).sum()

        h = 1e-5
        over_time = (log_p(x, at(value + h)) - log_p(x, at(value - h))) / (2 * h)
        (slope,) = torch.autograd.grad(log_p(x, at(value)), x)
        flow = process.velocity(Dirac(x0), x, at(value))
        jacobian = torch.autograd.functional.jacobian(
            lambda y, t=value: process.velocity(Dirac(x0), y[None], at(t))[0], x[0].detach()
        )
        residual = over_time + (flow * slope).sum() + jacobian.trace()
        assert abs(float(residual)) < 1e-6 * float(over_time.abs() + 1)
        assert torch.allclose(process.score(Dirac(x0), x, at(value)), slope, rtol=1e-9)


def test_the_bound_of_correlated_gaussian_data_is_exact():
    """Data N(m, C), its posterior by conditioning: `elbo` is -log p within 4.5 s.e., any steps."""
    process = turning()
    mean = at([0.5, -1.0, 0.2])
    factor = at([[0.8, 0.0, 0.0], [0.4, 0.5, 0.0], [-0.2, 0.1, 0.3]])
    covariance, one = factor @ factor.T, torch.eye(3, dtype=FLOAT)

    def exact(x, t):
        move, noise = process._travel(process._age(t))
        gain = covariance @ move.T @ torch.linalg.inv(move @ covariance @ move.T + noise)
        centre = mean + (x - mean @ move.T) @ gain.T
        left = one - gain @ move
        total = left @ covariance @ left.T + gain @ noise @ gain.T
        return FullNormal(centre, torch.linalg.cholesky(total))

    x0 = X0[:1].repeat(3000, 1)
    want = FullNormal(mean.expand(3000, 3), factor).nll(x0)[0]
    for steps in (1, 4):
        grid = torch.linspace(1, 0, steps + 1, dtype=FLOAT)
        nats = elbo(process, exact, x0, grid, random.derive(0, "elbo", steps)).detach()
        assert abs(float(nats.mean() - want)) < 4.5 * float(nats.std()) / 3000**0.5


def test_a_full_normal_is_that_of_torch():
    a, b = (random.normal(torch.empty(3, 3, dtype=FLOAT), random.derive(0, n)) for n in "ab")
    p, q = FullNormal(X0, a), FullNormal(X0 * 0.3, b)
    theirs = [
        torch.distributions.MultivariateNormal(law.mean, law.factor @ law.factor.T)
        for law in (p, q)
    ]
    x = X0.flip(0)
    assert torch.allclose(p.nll(x), -theirs[0].log_prob(x), rtol=1e-10)
    want = torch.distributions.kl_divergence(*theirs)
    assert torch.allclose(kl(p, q), want, rtol=1e-9)
    drawn = FullNormal(X0[:1].expand(50_000, 3), a).sample(random.derive(0, "draw"))
    assert torch.allclose(drawn.T.cov(), a @ a.T, atol=0.15)
    with pytest.raises(Unsupported, match="FullNormal"):
        kl(p, Normal(X0, 1.0))
    with pytest.raises(Unsupported, match="let the denoiser return"):
        FullNormal(X0, 0 * a).nll(X0)


# Bounds of everything that is registered


def test_every_registered_process_with_a_likelihood_has_its_bound():
    """`elbo` with a point denoiser is finite, above the exact nll; exact where the posterior is."""
    target = DiagonalMixture(X0[:1], [0.2], [0.6])
    x0 = target.sample(4000, random.derive(0, "data"))
    seen = 0
    for component in registry().list("process"):
        homes = (".discrete", ".simplex")
        if any(home in component.target for home in homes) or component.name == "blurring":
            continue  # of tokens, of images; like pinned and coupled states they have C12
        process = component.load()()
        if Can.LIKELIHOOD not in process.can or process.context or isinstance(process, Phase):
            continue
        seen += 1
        affine = Can.AFFINE in process.can
        grid = torch.tensor([1, 0.5, 0.1, 1e-3, 0], dtype=FLOAT)
        denoiser = target.denoiser(process) if affine else Decoded(half, process, 1e-3)
        nats = elbo(process, denoiser, x0, grid, random.derive(1, component.name)).detach()
        gap = nats - target.nll(x0)
        error = 4.5 * float(gap.std()) / len(gap) ** 0.5
        assert bool(nats.isfinite().all()) and float(gap.mean()) > -error, component.name
        if affine:
            prior = float(process.marginal(x0, at(1.0)).mean.square().mean())
            assert float(gap.mean()) < error + prior + 0.01, component.name
    assert seen >= 7


# Bad input


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(InputError, match="rank must lie between 0 and the 3 dimensions, not 4"):
        FPDiff(3, rank=4)
    with pytest.raises(InputError, match="3 numbers an item, not \\(2, 5\\)"):
        FPDiff(3).prior(torch.zeros(2, 5))
    with pytest.raises(InputError, match="start must lie in"):
        Continuous(0.0)
    with pytest.raises(InputError, match="at least 2 steps"):
        Stepwise(1)
    with pytest.raises(InputError, match="one clock"):
        BENT[0].marginal(X0, {"a": at(0.5)})


def test_networks_of_other_precision_answer_in_that_of_the_state():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x, clock):
            assert x.dtype == clock.dtype == torch.float32 and clock.shape == (2,)
            return self.layer(torch.cat([x, clock[:, None]], 1))

    for dtype in (torch.float64, torch.bfloat16):
        law = NDM(VP(), Wide()).marginal(X0.to(dtype), at(0.4))
        assert law.mean.dtype == dtype


def test_a_mixture_of_full_covariances_has_its_bound():
    """The exact bound of VP on an anisotropic mixture is its nll: what `fpdiff` starts from."""
    law = FullMixture(torch.zeros(1, 2), torch.tensor([[[0.6, 0.0], [0.0, 0.02]]]))
    x0 = law.sample(20_000, random.derive(0, "data"))
    u = (random.permutation(20_000, random.derive(0, "u")) + 0.5) / 20_000
    gap = Continuous(1e-4)(vp(), law.denoiser(vp()), x0, u, random.derive(1, "x")).total
    gap = gap - law.nll(x0)
    assert abs(float(gap.mean())) < 0.01 + 4.5 * float(gap.std()) / 20_000**0.5
