"""Churn, restart and predictor-corrector: laws, parity, calls, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

from sfumato import Dirac, Fields, InputError, Streams, expand, random, run, sample
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import (
    DDIM,
    S4,
    ChurnHeun,
    Heun,
    PredictorCorrector,
    RestartHeun,
    langevin,
)
from sfumato_methods.solvers.churn import Interval
from sfumato_methods.solvers.linear import inner

FLOAT = torch.float64
PROCESSES = [Gaussian(s) for s in (VP(), VE(), Linear(), Cosine(), EDM())]
MEAN, STD = 0.7, 0.3


def exact(process):
    def denoise(x, t):
        a, s = expand(x, process.alpha(t)), expand(x, process.sigma(t))
        gain = a * STD**2 / (a * a * STD**2 + s * s)
        return Dirac(MEAN + (x - a * MEAN) * gain)

    return denoise


def last(sampler, process, x, grid, generator, denoise=None):
    *_, frame = run(sampler, process, denoise or exact(process), x, grid, generator)
    return frame.after


@pytest.mark.parametrize("churn", [0.0, 3.0, 100.0])
def test_churn_equals_the_stochastic_sampler_of_diffusers(churn):
    """Their scheduler gives algorithm 2 step by step; both are fed the same noise."""
    process = Gaussian(EDM(80.0))
    levels = torch.tensor([80.0, 25.0, 6.0, 1.0, 0.2, 0.02, 0.0]).double()
    low, high, inflation = 0.05, 50.0, 1.007
    sampler = ChurnHeun(churn, low, high, inflation)
    x = 80 * random.normal(torch.zeros(4, 3, dtype=FLOAT), random.derive(0, "start"))
    found = last(sampler, process, x, levels / 80, random.derive(1, "noise"))
    scheduler = KarrasVeScheduler(
        sigma_min=0.02, sigma_max=80.0, s_noise=inflation, s_churn=churn, s_min=low, s_max=high
    )
    scheduler.num_inference_steps = len(levels) - 1
    noise, y = random.derive(1, "noise"), x

    def slope(v, level):
        # the scheduler wants the output F with D = v + level F, and steps along (v - D)/level
        return (exact(process)(v, level / 80).mean - v) / level

    for now, after in zip(levels, levels[1:], strict=False):
        inside = low <= now <= high and churn > 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.deprecated.scheduling_karras_ve.randn_tensor",
                lambda shape, generator=None: (
                    random.normal(torch.empty(shape, dtype=FLOAT), noise)
                    if inside  # noqa: B023, called at once
                    else torch.zeros(shape, dtype=FLOAT)
                ),
            )
            hat, level = scheduler.add_noise_to_input(y, now)
        out = scheduler.step(slope(hat, level), level, after, hat)
        y = out.prev_sample
        if after > 0:
            again = slope(y, after)
            y = scheduler.step_correct(again, level, after, hat, y, out.derivative).prev_sample
    assert torch.allclose(found, y, rtol=0, atol=1e-9)


def test_without_churn_it_is_heun_in_the_noise_level():
    process = Gaussian(EDM())
    grid = grids.karras(process, 8)
    x = 80 * random.normal(torch.zeros(5, 2, dtype=FLOAT), random.derive(0, "x"))
    one = last(ChurnHeun(0.0), process, x, grid, None)
    assert torch.allclose(one, last(Heun(), process, x, grid, None), rtol=0, atol=1e-10)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_raising_the_level_keeps_the_marginal(process):
    """alpha' = lift alpha and sigma'^2 = (lift sigma)^2 + std^2, for every step that goes up."""
    starts, plan = ChurnHeun(40.0)._plan(process, grids.uniform(process, 10))
    grid = grids.uniform(process, 10)
    raised = 0
    for t, start, row in zip(grid, starts, plan, strict=False):
        raised += bool(start > t)
        a, s = float(process.alpha(t)), float(process.sigma(t))
        assert row.lift * a == pytest.approx(float(process.alpha(start)), rel=1e-12, abs=1e-15)
        assert (row.lift * s) ** 2 + row.std**2 == pytest.approx(
            float(process.sigma(start)) ** 2, rel=1e-12
        )
    assert raised >= 8 and all(bool(start <= 1) for start in starts)


def test_restart_forgets_an_error_of_the_way_so_far():
    """A start that is far off is forgotten: its share falls with every restart to a high level."""
    process, left = Gaussian(EDM()), []
    grid = grids.karras(process, 20)
    for times in (1, 2, 3):
        sampler = RestartHeun((Interval(0.5, 10.0, times, 20),))
        ends = []
        for shift in (0.0, 400.0):
            x = torch.full((1, 1), 30.0 + shift, dtype=FLOAT)
            ends.append(float(last(sampler, process, x, grid, random.derive(0, "noise"))))
        left.append(abs(ends[1] - ends[0]))
    # on N(m, s^2) a way down from 10 to l contracts by sqrt((s^2 + l^2)/(s^2 + 100))
    assert left[1] < 0.2 * left[0] and left[2] < 0.2 * left[1]


CALLS = [
    (ChurnHeun(), lambda n: 2 * n - 1),
    (ChurnHeun(0.0), lambda n: 2 * n - 1),
    (PredictorCorrector(), lambda n: 2 * n - 1),
    (PredictorCorrector(DDIM(), corrections=3), lambda n: 4 * n - 3),
    (S4(), lambda n: n),
    (RestartHeun((Interval(0.1, 1.0, 2, 3),)), lambda n: 2 * n - 1 + 2 * 3 * 2),
]


@pytest.mark.parametrize(
    ("sampler", "calls"), CALLS, ids=lambda one: repr(one) if hasattr(one, "needs") else "calls"
)
def test_calls_are_exact(sampler, calls):
    process, count = Gaussian(VP()), 0

    def denoise(x, t):
        nonlocal count
        count += 1
        return exact(process)(x, t)

    grid = grids.logsnr(process, 9)
    last(sampler, process, torch.ones(2, 3, dtype=FLOAT), grid, random.derive(0, "x"), denoise)
    assert count == calls(9)


def test_an_item_with_its_own_times_restarts_where_it_would_alone():
    process = Gaussian(VP())
    grid = grids.logsnr(process, 8)
    late = torch.cat([grid[:1], grid[:1], grid])
    early = torch.cat([grid, grid[-1:], grid[-1:]])
    both = torch.stack([late, early], 1)
    x = random.normal(torch.zeros(2, 3, dtype=FLOAT), random.derive(0, "x"))
    sampler = RestartHeun((Interval(0.3, 2.0, 2, 2),))
    whole = last(sampler, process, x, both, Streams.derive(5, "s", [0, 1]))
    for i in (0, 1):
        alone = last(
            sampler, process, x[i : i + 1], both[:, i : i + 1], Streams.derive(5, "s", [i])
        )
        assert torch.allclose(alone, whole[i : i + 1], rtol=0, atol=1e-12)


def test_a_langevin_step_has_the_length_that_snr_asks_for():
    """e = 2 (snr |n|/|score|)^2 item by item; the score is that of the process."""
    process, sampler = Gaussian(VP()), PredictorCorrector(snr=0.2)
    grid = torch.tensor([0.6, 0.5], dtype=FLOAT)
    x = random.normal(torch.zeros(3, 4, dtype=FLOAT), random.derive(0, "x"))
    q = exact(process)(x, grid[1])
    (level,) = langevin._levels(process, grid[1:], grid[:-1])
    found = langevin._corrected(level, sampler.snr, process, q, x, random.derive(1, "n"))
    n, score = random.normal(x, random.derive(1, "n")), process.score(q, x, grid[1])
    e = 2 * 0.04 * (inner(n, n) / inner(score, score))[:, None]
    assert torch.allclose(found, x + e * score + (2 * e).sqrt() * n, rtol=1e-12)


def test_langevin_steps_alone_reach_the_law_of_the_level():
    """Many corrections at one level from a wrong start: N(alpha m, alpha^2 s^2 + sigma^2).

    The step is finite, so that the variance is inflated by about e/4 of the variance; with snr 0.02
    in 100 dimensions that is below 1 %. Means and standard deviations of 20,000 numbers, 4.5
    standard errors (false alarms 1e-5).
    """
    process = Gaussian(VP())
    grid = torch.tensor([0.52, 0.5], dtype=FLOAT)
    sampler = PredictorCorrector(snr=0.1, corrections=1500)
    x = torch.full((200, 100), 3.0, dtype=FLOAT)
    found = last(sampler, process, x, grid, random.derive(2, "chain"))
    a, s = float(process.alpha(grid[1])), float(process.sigma(grid[1]))
    std = math.sqrt(a * a * STD**2 + s * s)
    n = found.numel()
    assert abs(float(found.mean()) - a * MEAN) < 4.5 * std / n**0.5
    assert abs(float(found.std()) / std - 1) < 0.02 + 4.5 / (2 * n) ** 0.5


def test_what_makes_no_sense_is_refused():
    for wrong in ({"churn": -1.0}, {"low": 2.0, "high": 1.0}, {"inflation": 0.0}):
        with pytest.raises(InputError, match="ChurnHeun takes"):
            ChurnHeun(**wrong)
    for interval in ((1.0, 0.5, 1, 1), (0.1, 1.0, 0, 1), (0.1, 1.0, 1, 0), (0.0, 1.0, 1, 1)):
        with pytest.raises(InputError, match="an Interval takes"):
            RestartHeun((Interval(*interval),))
    with pytest.raises(InputError, match="snr > 0"):
        PredictorCorrector(snr=0.0)
    with pytest.raises(InputError, match="S4 takes snr > 0"):
        S4(snr=0.0)
    up, process = torch.linspace(0.1, 0.9, 4, dtype=FLOAT), Gaussian(VP())
    for sampler in (ChurnHeun(), RestartHeun(), PredictorCorrector(DDIM()), S4()):
        with pytest.raises(InputError, match="ascends"):
            last(sampler, process, torch.ones(1, 1, dtype=FLOAT), up, None)


def test_a_state_of_fields_is_corrected_as_one_vector():
    process = Gaussian(VP())
    x = random.normal(torch.zeros(3, 4, dtype=FLOAT), random.derive(0, "x"))
    parts = Fields(a=x[:, :1], b=x[:, 1:])
    assert torch.allclose(inner(parts, parts), inner(x, x), rtol=1e-12)
    drawn = sample(
        process,
        lambda x, t: Dirac(x * 0.5),
        parts,
        sampler=PredictorCorrector(),
        grid=grids.uniform(process, 3),
        generator=random.derive(0, "x"),
    )
    assert drawn["b"].shape == (3, 3)
