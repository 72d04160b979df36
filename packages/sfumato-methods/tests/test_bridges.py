"""Pinned processes beyond what the kit looks at: published formulas, ends, denoisers, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sfumato import Dirac, InputError, expand, random, run, sample
from sfumato.random import derive
from sfumato_methods.bridges import (
    Blind,
    Bridging,
    Doob,
    Level,
    Missing,
    OneSided,
    Residuals,
    Restored,
    Rise,
    Root,
    Straight,
    Transport,
    brownian_bridge,
    ddbm,
    ddbm_ve,
    interpolant,
    rddm,
)
from sfumato_methods.gaussian import EDM, VE, VP, Gaussian, Linear, linear
from sfumato_methods.grids import booted, uniform
from sfumato_methods.solvers import DBIM, DDIM, Euler, ExponentialAB

FLOAT = torch.float64
TIMES = torch.tensor([1e-3, 0.1, 0.37, 0.5, 0.8, 0.999], dtype=FLOAT)
SCHEDULES = [VP(0.1, 2.1), VE(0.01, 5.0), EDM(80.0)]
PROCESSES = [ddbm(), ddbm_ve(), brownian_bridge(), interpolant(), rddm()]


def at(t):
    return torch.tensor(t, dtype=FLOAT)


def normal(*shape, name="x"):
    return random.normal(torch.empty(shape, dtype=FLOAT), derive(7, name))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_diffusion_bridge_is_the_diffusion_conditioned_on_its_end(schedule):
    """By the rule for normals: x_t and x_1 given x_0 have covariance alpha_1/alpha_t sigma_t^2."""
    alpha, sigma = schedule.alpha(TIMES), schedule.sigma(TIMES)
    last, top = schedule.alpha(at(1.0)), schedule.sigma(at(1.0))
    gain = last / alpha * sigma.square() / top.square()
    a, b, c = Doob(schedule).shares(TIMES)
    assert torch.allclose(a, gain, rtol=1e-12)
    assert torch.allclose(b, alpha - gain * last, rtol=1e-9)
    assert torch.allclose(c.square(), sigma.square() - (gain * top).square(), rtol=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_both_ends_are_exact(process):
    a, b, c = (v.tolist() for v in process.shares(torch.tensor([0.0, 1.0], dtype=FLOAT)))
    assert (a, b) == ([0, 1], [1, 0])
    assert c[0] == 0 and c[1] == (0.1 if process.path == rddm().path else 0)


def test_the_coefficients_stay_exact_beside_the_source():
    near = 1 - torch.tensor([1e-4, 1e-8, 1e-12], dtype=FLOAT)
    left = (1 - near) * (1 + near)  # 1 - t^2 without cancellation
    _, b, c = Doob(EDM(80.0)).shares(near)
    for found, exact in ((b, left), (c, 80 * near * left.sqrt())):
        assert torch.allclose(found, exact, rtol=1e-15 / 1e-12)
    t, s = near[-1], at(0.5)
    step = ddbm_ve().given(source=normal(2, 3))
    law = step.bridge(normal(2, 3, name="x0"), step.source(normal(2, 3)), t, s)
    start = step.bridge(normal(2, 3, name="x0"), step.source(normal(2, 3)), at(1.0), s)
    assert torch.allclose(law.mean, start.mean, rtol=1e-9)
    assert torch.allclose(torch.as_tensor(law.std), torch.as_tensor(start.std), rtol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_flow_has_half_the_score_and_the_whole_of_h(schedule):
    """dx/dt = f x - g^2 (score/2 - h), Zhou et al. 2023, eq. 9."""
    source, x0, x = (normal(4, 3, name=name) for name in ("source", "x0", "x"))
    process = type(ddbm())(Doob(schedule)).given(source=source)
    for t in TIMES[1:]:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        alpha_rate, sigma_rate = schedule.rates(t)
        f = alpha_rate / alpha
        square = 2 * sigma * sigma_rate - 2 * f * sigma.square()
        last, top = schedule.alpha(at(1.0)), schedule.sigma(at(1.0))
        spread = alpha.square() * ((top / last).square() - (sigma / alpha).square())
        h = (alpha / last * source - x) / spread
        score = process.score(Dirac(x0), x, t)
        want = f * x - square * (0.5 * score - h)
        assert torch.allclose(process.velocity(Dirac(x0), x, t), want, rtol=1e-8, atol=1e-10)


def test_a_step_of_a_diffusion_bridge_is_one_of_the_diffusion():
    """It stays Markov: the source matters no more once x_t is known."""
    process, plain = ddbm(), Gaussian(VP(0.1, 2.1))
    for t, s in ((0.9, 0.2), (0.5, 0.4), (0.999, 0.0)):
        step, source = process._row(at(t), at(s))
        assert torch.allclose(torch.stack(step), torch.stack(plain._step(at(t), at(s))), atol=1e-12)
        assert abs(float(source)) < 1e-12
    bridge = brownian_bridge(0.5).given(source=normal(2, 3))
    law = bridge.bridge(normal(2, 3, name="x0"), normal(2, 3), at(0.8), at(0.2))
    assert float(torch.as_tensor(law.std).square()) == pytest.approx(0.5 * 0.2 * 0.6 / 0.8)


def test_the_source_is_asked_for_once_and_checked():
    process, x = ddbm(), normal(2, 3)
    for wrong in (process.prior, lambda x: process.marginal(x, at(0.5))):
        with pytest.raises(InputError, match=r"say process.given\(source=x1\) first"):
            wrong(x)
    with pytest.raises(InputError, match="say process"):
        process.transition(Dirac(x), x, at(0.5), at(0.2))
    with pytest.raises(InputError, match="given were end"):
        process.given(end=x)
    pinned = process.given(source=x)
    assert process.given() is process and pinned.given(source=x[:1]).prior(x[:1]) is not None
    with pytest.raises(InputError, match=r"the source has shape \(2, 3\), the state \(4, 3\)"):
        pinned.prior(normal(4, 3))
    assert pinned.prior(x.float()).sample(derive(0)).dtype == torch.float32


@pytest.mark.parametrize("schedule", [Linear(), VP(0.1, 2000.0)], ids=repr)
def test_a_schedule_that_loses_the_data_makes_no_bridge(schedule):
    with pytest.raises(InputError, match="keeps some of the data"):
        Doob(schedule)


def test_what_cannot_be_is_refused():
    for wrong in (
        lambda: Rise(low=0.5, high=0.5),
        lambda: Rise(power=0),
        lambda: DBIM(1.5),
        lambda: DBIM(0.5, order=2),
        lambda: DBIM(order=4),
        lambda: booted(ddbm(), 5, lag=1.0),
        lambda: Bridging(nn.Identity(), ddbm(), sigma_data=0.0),
        lambda: Bridging(nn.Identity(), ddbm(), covariance=1.0),
        lambda: Residuals(nn.Identity(), rddm(), "noise"),
    ):
        with pytest.raises(InputError):
            wrong()


# --- samplers


def guess(x, t):
    return Dirac(torch.tanh(0.7 * x + expand(x, t)))


def ended(process, sampler, grid, x=None):
    generator = derive(3, "run")
    x = process.source(normal(5, 2)) if x is None else x
    for frame in run(sampler, process, guess, x, grid, generator):
        x = frame.after
    return x


def test_implicit_steps_are_those_of_the_paper():
    """Zheng et al. 2024, eq. 19: first, second and third order, D', D'' by differences."""
    source = normal(5, 2, name="source")
    process = ddbm().given(source=source)
    grid = torch.tensor([0.9, 0.7, 0.45, 0.3], dtype=FLOAT)
    a, b, c = process.shares(grid)
    lam = (b / c).log()
    x = normal(5, 2, name="start")
    for order in (1, 2, 3):
        states, means = [x], []
        for i in range(3):
            means.append(guess(states[-1], grid[i]).mean)
            h = lam[i + 1] - lam[i]
            first = second = torch.zeros_like(x)
            if i and order > 1:
                before = lam[i] - lam[i - 1]
                first = (means[-1] - means[-2]) / before
            if i > 1 and order > 2:
                early = lam[i - 1] - lam[i - 2]
                older = (means[-2] - means[-3]) / early
                second = 2 * (first - older) / (before + early)
                first = first + 0.5 * before * second
            end = math.exp(-h)
            whole = (1 - end) * means[-1] + (end + h - 1) * first
            whole = whole + (h * h / 2 - h + 1 - end) * second
            ratio = c[i + 1] / c[i]
            pulled = ratio * states[-1] + (a[i + 1] - a[i] * ratio) * source
            states.append(pulled + b[i + 1] * whole)
        assert torch.allclose(ended(process, DBIM(order=order), grid, x), states[-1], atol=1e-10)


def test_eta_one_is_the_ancestral_step_and_eta_zero_forgets_the_generator():
    from sfumato import Ancestral

    for bare in PROCESSES:
        process = bare.given(source=normal(5, 2, name="source"))
        grid = booted(process, 6)
        both = ended(process, DBIM(1.0), grid), ended(process, Ancestral(), grid)
        assert torch.allclose(*both, atol=1e-12)
    process = ddbm().given(source=normal(5, 2, name="source"))
    twice = [
        sample(
            process, guess, normal(5, 2), sampler=DBIM(), grid=booted(process, 6),
            generator=derive(seed), start=Dirac(normal(5, 2, name="start")),
        )
        for seed in (1, 2)
    ]  # fmt: skip
    assert not torch.equal(*twice)  # the first step draws
    walks = [
        list(run(DBIM(), process, guess, normal(5, 2), booted(process, 6)[1:], derive(seed)))
        for seed in (1, 2)
    ]
    assert torch.equal(walks[0][-1].after, walks[1][-1].after)


def test_without_a_source_it_is_ddim():
    process, grid = linear(), uniform(linear(), 7)
    x = normal(5, 2)
    assert torch.allclose(
        ended(process, DBIM(), grid, x), ended(process, DDIM(), grid, x), atol=1e-13
    )
    assert torch.allclose(
        ended(process, DBIM(0.6), grid, x), ended(process, DDIM(0.6), grid, x), atol=1e-13
    )
    assert torch.allclose(
        ended(process, DBIM(order=3), grid, x),
        ended(process, ExponentialAB(3), grid, x),
        atol=1e-13,
    )


def test_an_item_comes_back_from_its_noise():
    """Up along the flow, the noise read off, and down again from the source with that noise."""
    from sfumato_methods.solvers.dbim import boot_noise

    source = normal(5, 2, name="source")
    process = ddbm().given(source=source)
    path = 0.95 * torch.linspace(0, math.log(0.01), 101, dtype=FLOAT).exp()
    item = ended(process, DBIM(), torch.cat([at(1.0)[None], path[::5]]))
    top = ended(process, DBIM(order=3), path.flip(0), item)
    noise = boot_noise(process, guess, top, path[0])
    a, b, c = process.shares(path[0])
    again = a * source + b * guess(source, at(1.0)).mean + c * noise
    back = ended(process, DBIM(order=3), path, again)
    assert float((back - item).norm() / item.norm()) < 1e-3


# --- residual diffusion


def test_residual_diffusion_without_an_image_is_ddim():
    chain = VP.from_betas(torch.linspace(1e-4, 0.02, 1000, dtype=FLOAT))
    process = rddm(Missing(chain), Level(chain)).given(source=torch.zeros(5, 2, dtype=FLOAT))
    plain, grid, x = Gaussian(chain), uniform(linear(), 20), normal(5, 2)
    assert float(process.prior(x).std) == pytest.approx(float(plain.prior(x).std))
    assert torch.allclose(
        ended(process, DBIM(), grid, x), ended(plain, DDIM(), grid, x), atol=1e-8, rtol=0
    )


def test_a_residual_step_is_that_of_the_paper():
    """x' = x - (A_t - A_s) res - (B_t - (B_s^2 - v)^(1/2)) n + v^(1/2) eps, v by eta = 1."""
    source, x = normal(5, 2, name="source"), normal(5, 2)
    residual, noise = normal(5, 2, name="res"), normal(5, 2, name="noise")
    process = rddm().given(source=source)
    t, s = at(0.8), at(0.3)
    (a, _, c), (a1, _, c1) = process.shares(t), process.shares(s)
    q = Restored(x - a * residual - c * noise, residual, source)
    v = (c**2 - c1**2) * c1**2 / c**2
    want = x - (a - a1) * residual - (c - (c1**2 - v).sqrt()) * noise
    law = process.transition(q, x, t, s)
    assert torch.allclose(law.mean, want, atol=1e-13)
    assert float(law.std) == pytest.approx(float(v.sqrt()))
    drawn = DBIM().plan(process, torch.stack([t, s]))[0]
    from sfumato.sampling import Point

    after = DBIM().advance(drawn, process, [Point(t, x, q)], s, derive(0))
    assert torch.allclose(after, x - (a - a1) * residual - (c - c1) * noise, atol=1e-13)


class Known(nn.Module):
    """A network that knows residual and noise."""

    def __init__(self, *parts):
        super().__init__()
        self.said = torch.cat(parts, 1)
        self.seen = []

    def encode(self, source):
        return {}

    def forward(self, x, clock):
        self.seen.append((x, clock))
        return self.said


@pytest.mark.parametrize(
    ("share", "noise"),
    [
        (Rise(), Rise(top=0.3)),
        (Rise(low=0.5), Rise(top=0.3, high=0.5)),
        (Rise(high=0.5), Rise(top=0.3, low=0.5)),
    ],
    ids=["together", "residual first", "noise first"],
)
def test_every_path_ends_at_the_same_place(share, noise):
    source, x0, eps = (normal(5, 2, name=name) for name in ("source", "x0", "eps"))
    process = rddm(share, noise).given(source=source)
    start = source + 0.3 * eps
    denoiser = Residuals(Known(source - x0, eps), process, "both").given(source=source)
    x = start
    for frame in run(DBIM(), process, denoiser, x, uniform(process, 4), derive(0)):
        x = frame.after
    assert torch.allclose(x, x0, atol=1e-12)


@pytest.mark.parametrize("predict", ["res", "eps", "both"])
def test_the_three_predictions_agree_and_the_source_is_no_pole(predict):
    source, x0, eps = (normal(5, 2, name=name) for name in ("source", "x0", "eps"))
    said = {"res": (source - x0,), "eps": (eps,), "both": (source - x0, eps)}[predict]
    process = rddm().given(source=source)
    net = Known(*said)
    denoiser = Residuals(net, process, predict).given(source=source)
    for t in (0.0, 0.2, 0.9):
        a, b, c = process.shares(at(t))
        x = a * source + b * x0 + c * eps
        assert torch.allclose(denoiser(x, at(t)).mean, x0, atol=1e-10)
        shown, clock = net.seen[-1]
        assert torch.allclose(shown[:, 2], a.expand(5))  # A beside the state, B as the clock
        assert torch.allclose(clock.double(), c.log().clamp(-10, 10).expand(5), rtol=1e-6)
    end = denoiser(source + 0.1 * eps, at(1.0)).mean
    assert bool(end.isfinite().all())
    if predict == "eps":
        assert torch.equal(end, source)
    with pytest.raises(InputError, match="need the source"):
        Residuals(net, process, predict)(x0, at(0.5))


def test_both_predictions_are_held_to_both_targets():
    source, x0 = normal(5, 2, name="source"), normal(5, 2)
    right = Restored(x0, source - x0, source)
    wrong = Restored(x0, source - x0 + 1, source)
    assert torch.equal(right.loss(x0), torch.zeros(5, dtype=FLOAT))
    assert torch.allclose(wrong.loss(x0), torch.ones(5, dtype=FLOAT))


# --- denoisers


def test_the_network_of_a_bridge_sees_and_predicts_unit_variance():
    """Data, source and noise correlated as told: both variances 1, to 5 standard errors."""
    n, sd, ss, cov = 40_000, 0.7, 1.1, 0.5
    x0 = sd * normal(n, 1, name="x0")
    source = cov / sd**2 * x0 + (ss**2 - (cov / sd) ** 2) ** 0.5 * normal(n, 1, name="source")
    for bare in (ddbm(), brownian_bridge(), rddm()):
        process = bare.given(source=source)
        denoiser = Bridging(nn.Identity(), bare, sigma_data=sd, sigma_source=ss, covariance=cov)
        for t in (0.1, 0.5, 0.9):
            scale, keep, gain = denoiser._coefficients(at(t))
            x = process.marginal(x0, at(t)).sample(derive(3, str(t)))
            for seen in (scale * x, (x0 - keep * x) / gain):
                assert float(seen.square().mean()) == pytest.approx(1, abs=5 * (2 / n) ** 0.5)
            assert float(denoiser.weight(bare, at(t))) == pytest.approx(float(gain) ** -2)
        assert [float(v) for v in denoiser._coefficients(at(0.0))[1:]] == [1, 0]


def test_a_blind_denoiser_is_told_all_but_the_source():
    class Told(nn.Module):
        def encode(self, **condition):
            return condition

        def forward(self, x, clock, **context):
            return x * len(context)

    from sfumato import Preconditioned

    blind = Blind(Preconditioned(Told(), linear(), "x0"))
    x, t = torch.ones(2, 3), torch.tensor(0.5)
    none = blind.given(source=x)(x, t).mean
    assert torch.equal(none, torch.zeros(2, 3))
    assert bool((blind.given(source=x, label=t)(x, t).mean > 0).all())
    assert torch.equal(blind(x, t).mean, none)


def test_transport_moves_one_law_to_another():
    """Normal data and normal sources, in any order: the posterior mean is linear, the end exact."""
    n, mean, std = 4000, 2.0, 0.5
    source = 3 * normal(n, 1, name="source") - 1
    process = Transport()

    def exact(x, t):
        both = (1 - t) ** 2 * std**2 + t**2 * 9
        return Dirac(mean + (1 - t) * std**2 / both * (x - (1 - t) * mean + t))

    pinned = process.given(source=source)
    x = source
    for frame in run(Euler(), pinned, exact, x, uniform(process, 400), derive(0)):
        x = frame.after
    want = mean + std / 3 * (source + 1)  # normals are mapped by a line
    assert float((x - want).abs().max()) < 0.02


@pytest.mark.parametrize("variance", [2.0, 0.5])
def test_an_interpolant_from_noise_is_a_schedule(variance):
    schedule, t = OneSided(variance), torch.linspace(0.02, 0.98, 9, dtype=FLOAT).requires_grad_()
    pinned = brownian_bridge(variance).given(source=normal(9, 20_000, name="s"))
    drawn = pinned.marginal(torch.zeros(9, 20_000, dtype=FLOAT), t.detach()).sample(derive(1))
    assert torch.allclose(drawn.std(1), schedule.sigma(t.detach()), rtol=5 / (2 * 20_000) ** 0.5)
    (rate,) = torch.autograd.grad(schedule.sigma(t).sum(), t)
    assert torch.allclose(schedule.rates(t)[1], rate)
    assert torch.allclose(schedule.time(schedule.logsnr(t)), t, rtol=1e-12)
    ends = schedule.time(torch.tensor([math.inf, -math.inf], dtype=FLOAT))
    assert ends.tolist() == [0, 1]
    whole = Gaussian(schedule)
    assert whole.alpha(at(0.0)) == 1 and whole.sigma(at(0.0)) == 0 and whole.sigma(at(1.0)) == 1


def test_straight_paths_have_the_variance_that_they_name():
    t = torch.linspace(0.05, 0.95, 7, dtype=FLOAT)
    assert torch.allclose(Straight(Root(2.0)).shares(t).noise.square(), 2 * t * (1 - t))
    assert torch.allclose(
        interpolant().shares(t).noise.square() + t**2, 1 - (1 - t) ** 2
    )  # with a normal source it is variance preserving
