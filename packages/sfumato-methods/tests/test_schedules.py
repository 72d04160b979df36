"""Schedules: the published formula, its derivative, its inverse."""

import math

import numpy as np
import pytest
import torch

from sfumato import InputError
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Linear, SubVP

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
SCHEDULES = [VP(), VP(0.5, 9.0), VE(), VE(0.02, 80.0), Linear(), Cosine(), Cosine(0.0), EDM()]
SCHEDULES += [SubVP(), SubVP(0.5, 9.0)]
TABLES = [VP.from_betas(BETAS), VP.from_alpha_bar([0.9, 0.5, 0.1])]
ALL = pytest.mark.parametrize("schedule", SCHEDULES + TABLES, ids=repr)
T = torch.linspace(0.0013, 0.9987, 301, dtype=torch.float64)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


@ALL
def test_starts_at_clean_data(schedule):
    assert float(schedule.alpha(ENDS[:1])) == 1
    assert float(schedule.sigma(ENDS[:1])) == 0
    assert float(schedule.logsnr(ENDS[:1])) == math.inf


@ALL
def test_rates_are_derivatives(schedule):
    """Central differences, whose own error is of order step^2 times the third derivative."""
    step = 1e-6
    at = T[(T * 1000 % 1).sub(0.5).abs() < 0.4] if schedule in TABLES[:1] else T
    for rate, value in zip(schedule.rates(at), (schedule.alpha, schedule.sigma), strict=True):
        slope = (value(at + step) - value(at - step)) / (2 * step)
        scale = 1 + rate.abs()
        assert float(((rate - slope) / scale).abs().max()) < 1e-5


@ALL
def test_logsnr_is_that_of_alpha_and_sigma_and_time_inverts_it(schedule):
    logsnr = schedule.logsnr(T)
    ratio = 2 * (schedule.alpha(T).log() - schedule.sigma(T).log())
    assert torch.allclose(logsnr, ratio, rtol=0, atol=1e-9)
    assert bool((logsnr.diff() < 0).all())
    assert torch.allclose(schedule.time(logsnr), T, rtol=0, atol=1e-9)
    beyond = torch.tensor([math.inf, 80.0, -80.0, -math.inf], dtype=torch.float64)
    assert bool(((schedule.time(beyond) >= 0) & (schedule.time(beyond) <= 1)).all())


@pytest.mark.parametrize("schedule", [VP(), Cosine(), *TABLES], ids=repr)
def test_preserves_variance(schedule):
    total = schedule.alpha(T).square() + schedule.sigma(T).square()
    assert torch.allclose(total, torch.ones_like(T), rtol=0, atol=1e-14)


def test_vp_solves_its_differential_equation():
    """alpha = exp(-1/2 int beta), beta linear: by quadrature."""
    beta = lambda t: 0.1 + t * (20.0 - 0.1)  # noqa: E731
    for t in (0.1, 0.5, 1.0):
        grid = np.linspace(0, t, 20001)
        alpha = math.exp(-0.5 * np.trapezoid(beta(grid), grid))
        assert float(VP().alpha(torch.tensor(t, dtype=torch.float64))) == pytest.approx(alpha, 1e-9)


def test_cosine_is_the_published_formula():
    f = lambda t: torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    assert torch.allclose(Cosine().alpha(T).square(), f(T) / f(ENDS[:1]), rtol=1e-12)


def test_ve_and_edm_are_the_published_formulas():
    kernel = 0.01**2 * ((50 / 0.01) ** (2 * T) - 1)
    assert torch.allclose(VE().sigma(T).square(), kernel, rtol=1e-10)
    assert torch.equal(EDM(80.0).sigma(T), 80 * T)


def test_a_table_equals_the_discrete_chain():
    table = VP.from_betas(BETAS)
    alpha_bar = np.cumprod(1 - BETAS.numpy())
    at = torch.arange(1, 1001, dtype=torch.float64) / 1000
    assert np.allclose(table.alpha(at).square().numpy(), alpha_bar, rtol=1e-11)
    again = VP.from_alpha_bar(torch.from_numpy(alpha_bar))
    assert torch.allclose(again.alpha(T), table.alpha(T), rtol=1e-11)
    assert table.steps == 1000 and table == VP.from_betas(BETAS.tolist())


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: VP(0.0, 1.0), "beta_min must be positive"),
        (lambda: VP(3.0, 1.0), "beta_max"),
        (lambda: VE(1.0, 0.5), "sigma_max must be larger"),
        (lambda: EDM(math.inf), "sigma_max must be positive"),
        (lambda: Cosine(1.0), "offset"),
        (lambda: VP.from_betas([]), "betas"),
        (lambda: VP.from_betas([0.1, 1.0]), "betas"),
        (lambda: VP.from_alpha_bar([0.5, 0.6]), "decrease"),
        (lambda: VP.from_alpha_bar([0.5, math.nan]), "alpha_bar"),
    ],
)
def test_a_wrong_value_is_named(build, says):
    with pytest.raises(InputError, match=says):
        build()
