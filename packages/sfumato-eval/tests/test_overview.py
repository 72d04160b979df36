"""DDPM and what was built on it, against their published formulas; and every leaf of the survey."""

from __future__ import annotations

import importlib
import math
from functools import reduce
from pathlib import Path

import pytest
import torch

from sfumato import Dirac, Normal, Trial, random, registry
from sfumato_eval.systems import overview
from sfumato_methods.gaussian import VP, Cosine, Gaussian

FIRST, LAST, NUMBER = overview.BETAS
BETAS = torch.linspace(FIRST, LAST, NUMBER, dtype=torch.float64)
ALPHA_BAR = (1 - BETAS).cumprod(0)
X0 = random.normal(torch.zeros(3, 5, dtype=torch.float64), random.derive(0, "x0"))
X = random.normal(torch.zeros(3, 5, dtype=torch.float64), random.derive(0, "x"))


def times(i):
    return (torch.tensor(k / NUMBER, dtype=torch.float64) for k in (i, i - 1))


@pytest.mark.parametrize("i", [2, 40, 500, 1000])
def test_both_variances_of_ddpm_are_posteriors(i):
    """Ho et al. 2020, arXiv:2006.11239, section 3.2: beta~ of a point, beta of a Normal."""
    process, (t, s) = overview.chain(), times(i)
    now, before, beta = ALPHA_BAR[i - 1], ALPHA_BAR[i - 2], BETAS[i - 1]
    mean = before.sqrt() * beta / (1 - now) * X0 + (1 - beta).sqrt() * (1 - before) / (1 - now) * X
    for q, variance in (
        (Dirac(X0), (1 - before) / (1 - now) * beta),
        (Normal(X0, float(process.sigma(t))), beta),
    ):
        law = process.transition(q, X, t, s)
        assert torch.allclose(law.mean, mean, rtol=1e-9, atol=1e-11)
        assert float(law.std.square().max()) == pytest.approx(float(variance), rel=1e-8)


@pytest.mark.parametrize("v", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("i", [2, 40, 1000])
def test_a_learned_variance_has_its_place(i, v):
    """Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15."""
    process, (t, s) = overview.chain(), times(i)
    beta = BETAS[i - 1]
    short = (1 - ALPHA_BAR[i - 2]) / (1 - ALPHA_BAR[i - 1]) * beta
    wanted = (v * beta.log() + (1 - v) * short.log()).exp()
    std = overview.learned_std(process, torch.tensor(v, dtype=torch.float64), t, s)
    law = process.transition(Normal(X0, float(std)), X, t, s)
    assert float(law.std.square().max()) == pytest.approx(float(wanted), rel=1e-8)


def test_the_cosine_schedule_is_the_published_table():
    """Nichol & Dhariwal 2021, eq. 17, as betas of at most 0.999."""

    def f(i):
        return math.cos((i / 100 + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - f(i) / f(i - 1), 0.999) for i in range(1, 101)]
    table, exact = Gaussian(VP.from_betas(betas)), Gaussian(Cosine())
    t = torch.arange(1, 100, dtype=torch.float64) / 100  # the last beta alone is cut
    assert torch.allclose(table.alpha(t), exact.alpha(t), rtol=1e-9)
    assert betas[-1] == 0.999 and float(exact.alpha(torch.tensor(1.0).double())) == 0


def test_ddim_with_all_noise_in_all_steps_is_ddpm(tmp_path):
    difference, size, _ = overview.ancestral(Trial(0, 1.0, "cpu", tmp_path, 1.0), 4)
    assert difference < 1e-10 * size


def test_guidance_makes_the_class_clearer(tmp_path):
    guided, conditional, data = overview.guidance(Trial(5, 1.0, "cpu", tmp_path, 1.0), 200)
    assert 0 < guided < 0.5 * conditional and 0 < data < 1


def test_few_steps_are_measured_with_a_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "FEW", 3)  # so few that both are far off
    ddim, ddpm, floor = overview.few(Trial(5, 1.0, "cpu", tmp_path, 1.0), 500)
    assert 0 < 1.5 * floor < min(ddim, ddpm)


@pytest.mark.parametrize("leaf", overview.system.covers)
def test_every_leaf_is_served_or_planned(leaf):
    component = overview.system.covers[leaf]
    if component == overview.PLANNED:
        return
    if ":" in component:  # what has no kind of its own, as guidance
        module, _, path = component.partition(":")
        assert callable(reduce(getattr, path.split("."), importlib.import_module(module)))
        return
    found = [one for one in registry().list() if one.name == component]
    assert found, f"{component} is not registered"
    assert all(callable(one.load()) for one in found)


def test_the_leaves_of_the_abstract_are_there():
    """None of its topics is only planned."""
    covers = overview.system.covers
    for topic in ("DDPM", "improved DDPM", "DDIM", "classifier-free guidance", "latent diffusion"):
        leaves = [one for one in covers if one == topic or one.startswith(f"{topic}:")]
        assert leaves and any(covers[one] != overview.PLANNED for one in leaves)


@pytest.mark.parametrize("name", ["unified", "overview", "codeexec"])
def test_components_of_the_systems_are_registered(name):
    system = registry().load("system", name)
    known = {one.name for one in registry().list()}
    assert set(system.components) <= known
    assert Path(importlib.import_module(system.trial.__module__).__file__).stem == system.id
    assert system.source == registry().find("system", name).source
    assert system.title == registry().find("system", name).summary
