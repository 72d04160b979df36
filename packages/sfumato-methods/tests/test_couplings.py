"""Couplings by optimal transport, and rectified flow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sfumato import Ancestral, Dirac, InputError, Ragged, random, sample
from sfumato.random import derive
from sfumato_methods.bridges import (
    Sinkhorn,
    Transport,
    assignment,
    costs,
    rectified,
    straightness,
)
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.solvers import RK4, Euler, Heun
from sfumato_testing import DiagonalMixture

FLOAT = torch.float64


def normal(*shape, name="x"):
    return random.normal(torch.empty(shape, dtype=FLOAT), derive(11, name))


def total(x0, x1, order):
    return float((x0 - x1[order]).square().sum())


def test_on_a_line_the_order_is_kept():
    x0, x1 = normal(50, 1), normal(50, 1, name="other")
    order = assignment(x0, x1, derive(0))
    assert torch.equal(x1[order].argsort(0), x0.argsort(0))


def test_an_assignment_is_the_best_of_all():
    x0, x1 = normal(6, 3), normal(6, 3, name="other")
    order = assignment(x0, x1, derive(0))
    assert sorted(order.tolist()) == list(range(6))
    best = min(total(x0, x1, torch.tensor(p)) for p in itertools.permutations(range(6)))
    assert total(x0, x1, order) == pytest.approx(best, rel=1e-12)
    assert best < total(x0, x1, torch.arange(6))


def test_pictures_are_compared_as_vectors_and_other_states_not_at_all():
    x0, x1 = normal(4, 1, 2, 3), normal(4, 1, 2, 3, name="other")
    found = costs(x0, x1)
    want = (x0[:, None] - x1).square().flatten(2).sum(2)
    assert torch.allclose(found, want)
    rows = Ragged(x0[:, 0, 0], torch.arange(4), 4)
    for wrong in (x1[:3], rows):
        with pytest.raises(InputError, match="of one shape, as tensors"):
            assignment(x0, wrong, derive(0))


@pytest.mark.parametrize("epsilon", [0.5, 0.05, 0.005])
def test_sinkhorn_keeps_both_marginals(epsilon):
    plan = Sinkhorn(epsilon, iterations=5000).plan(costs(normal(40, 2), normal(40, 2, name="b")))
    assert float((40 * plan.sum(0) - 1).abs().max()) < 1e-12
    assert float((40 * plan.sum(1) - 1).abs().max()) < 2e-3


def test_sinkhorn_lies_between_chance_and_the_best():
    """Its plan is the only one of the form exp(f_i + g_j - C/e); its cost falls with e."""
    x0, x1 = normal(40, 2), normal(40, 2, name="b")
    cost = costs(x0, x1)
    best = float(cost.gather(1, assignment(x0, x1, derive(0))[:, None]).mean())
    paid = []
    for epsilon in (10.0, 0.5, 0.05, 0.002):
        plan = Sinkhorn(epsilon, iterations=5000, tolerance=1e-5).plan(cost)
        form = plan.clamp_min(1e-300).log() + cost / (epsilon * cost.mean())
        form = form - form.mean(0) - form.mean(1, keepdim=True) + form.mean()
        assert epsilon < 0.05 or float(form.abs().max()) < 1e-8
        paid.append(float((plan * cost).sum()))
    assert paid == sorted(paid, reverse=True)
    assert paid[0] == pytest.approx(float(cost.mean()), rel=0.1)
    assert best <= paid[-1] * (1 + 1e-6) and paid[-1] == pytest.approx(best, rel=0.05)


def test_sinkhorn_draws_rows_of_its_plan():
    """Frequencies over 600 draws of 5 items, against the plan: 5 standard errors each."""
    x0, x1 = normal(5, 2), normal(5, 2, name="b")
    coupling, generator = Sinkhorn(0.3), derive(5)
    counts = torch.zeros(5, 5, dtype=FLOAT)
    for _ in range(600):
        counts[torch.arange(5), coupling(x0, x1, generator)] += 1
    plan = 5 * coupling.plan(costs(x0, x1))
    spread = (plan * (1 - plan) / 600).sqrt() + 1e-3
    assert float(((counts / 600 - plan) / spread).abs().max()) < 5
    with pytest.raises(InputError, match="above 0"):
        Sinkhorn(0.0)


# --- rectified flow of a mixture of four in the plane, whose axes are independent

MODES = DiagonalMixture(torch.zeros(1, 1, dtype=FLOAT), [-1.0, 1.2], [0.25, 0.4], [0.4, 0.6])
PLANE = DiagonalMixture(
    torch.zeros(1, 2, dtype=FLOAT),
    [torch.tensor([a, b]) for a in (-1.0, 1.2) for b in (-1.0, 1.2)],
    [torch.tensor([a, b]) for a in (0.25, 0.4) for b in (0.25, 0.4)],
    [a * b for a in (0.4, 0.6) for b in (0.4, 0.6)],
)


def paired(denoiser, source):
    process = linear()
    return rectified(
        process, denoiser, source, sampler=RK4(), grid=uniform(process, 100), generator=derive(0)
    )


def test_reflow_keeps_the_marginal_and_straightens():
    """On the line the flow is monotone, so that the flow of its pairs is known: x_t tells both.

    The denoiser of the plane is that of the whole mixture; the pairs it gives are, axis by axis,
    those of the flow on the line. One Euler step of the flow of the pairs ends where 100 steps of
    the first did, and so has the law of the data.
    """
    n, process = 4000, linear()
    source = normal(n, 2, name="source")
    x0 = paired(PLANE.denoiser(process), source)
    levels = torch.linspace(-6, 6, 8001, dtype=FLOAT)[:, None]
    line = paired(MODES.denoiser(process), levels)[:, 0]

    def map_of(z):
        return torch.from_numpy(np.interp(z.numpy(), levels[:, 0].numpy(), line.numpy()))

    assert float((map_of(source) - x0).abs().mean()) < 1e-3

    def straight(x, t):
        along = ((1 - t) * line + t * levels[:, 0]).numpy()
        return Dirac(torch.from_numpy(np.interp(x.numpy(), along, line.numpy())))

    pinned = Transport().given(source=source)
    once = sample(
        pinned, straight, source, sampler=Euler(), grid=uniform(process, 1), generator=derive(0)
    )
    assert float((once - x0).abs().mean()) < 1e-3
    data = PLANE.sample(n, derive(4, "data"))
    for axis in (0, 1):
        gap = np.abs(np.sort(once[:, axis].numpy()) - np.sort(data[:, axis].numpy())).mean()
        assert gap < 0.08  # 1-Wasserstein; 0.03 between two such sets of data
    bent = [
        straightness(p, d, source, sampler=Euler(), grid=uniform(process, 50), generator=derive(0))
        for p, d in ((process, PLANE.denoiser(process)), (pinned, straight))
    ]
    assert bent[0] > 0.02 and bent[1] < 0.01 * bent[0]
    # transport costs no more than the coupling by chance
    assert total(x0, source, torch.arange(n)) < total(data, source, torch.arange(n))


def test_known_ends_make_straight_paths():
    """Told x_0, paths are straight."""
    source, x0 = normal(7, 2), normal(7, 2, name="x0")
    pinned = Transport().given(source=source)
    grid = uniform(pinned, 40)
    flat = straightness(
        pinned, lambda x, t: Dirac(x0), source, sampler=Heun(), grid=grid, generator=derive(0)
    )
    assert flat < 1e-20


def test_pairs_need_a_sampler_that_draws_nothing():
    process = linear()
    with pytest.raises(InputError, match="deterministic sampler"):
        rectified(
            process, PLANE.denoiser(process), normal(3, 2), sampler=Ancestral(),
            grid=uniform(process, 3), generator=derive(0),
        )  # fmt: skip
