"""What every stochastic, reversible and entropy-aware sampler does at the ends of its range."""

from __future__ import annotations

import pytest
import torch

from sfumato import Dirac, InputError, run, sample
from sfumato.random import derive
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import (
    DDIM,
    ERSDE,
    LML,
    S4,
    SEEDS,
    ChurnHeun,
    EulerMaruyama,
    EVODiff,
    EVODiffRelease,
    PredictorCorrector,
    RestartHeun,
    Rex,
    RexSDE,
    SDEDPMSolverPP,
)
from sfumato_methods.solvers.churn import Interval
from sfumato_methods.solvers.ersde import ODE, REVERSE_SDE
from sfumato_methods.solvers.tableaux import RK4, SHARK

FLOAT = torch.float64
PROCESSES = [Gaussian(s) for s in (VP(), VE(), Linear(), Cosine(), EDM())]
DRAWING = [
    ERSDE(),
    ERSDE(REVERSE_SDE, 2),
    SDEDPMSolverPP(),
    EulerMaruyama(),
    SEEDS(),
    SEEDS(3),
    ChurnHeun(),
    RestartHeun((Interval(0.1, 1.0, 2, 3),)),
    PredictorCorrector(),
    PredictorCorrector(DDIM(), corrections=3),
    S4(),
    RexSDE(),
    RexSDE(SHARK),
]
STILL = [ERSDE(ODE), ChurnHeun(0.0), EVODiff(), EVODiffRelease(), LML(), LML(-1.0), Rex(), Rex(RK4)]
UNSHARED = (EVODiffRelease, RexSDE)
"""Their plans are made of floats, so that grids get no gradient."""


def draw(sampler, process, like, grid, denoise=lambda x, t: Dirac(x * 0.5), **options):
    return sample(
        process,
        denoise,
        like,
        sampler=sampler,
        grid=grid,
        generator=derive(0, "ends"),
        **options,
    )


@pytest.mark.parametrize("sampler", DRAWING + STILL, ids=repr)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_one_and_two_steps_halves_and_empties(process, sampler):
    for steps in (1, 2):
        grid = grids.uniform(process, steps)
        for dtype in (torch.bfloat16, torch.float16, FLOAT):
            x = draw(sampler, process, torch.zeros(2, 3, dtype=dtype), grid)
            assert x.dtype == dtype and bool(x.isfinite().all())
        assert draw(sampler, process, torch.zeros(0, 3), grid).shape == (0, 3)


@pytest.mark.parametrize("sampler", DRAWING + STILL, ids=repr)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_gradients_are_finite_from_end_to_end(process, sampler):
    """Of what the denoiser depends on, and of the inner times of a grid from 1 to 0."""
    weight = torch.tensor(0.7, dtype=FLOAT, requires_grad=True)
    inner = torch.tensor([0.7, 0.4], dtype=FLOAT, requires_grad=not isinstance(sampler, UNSHARED))
    grid = torch.cat([torch.ones(1).double(), inner, torch.zeros(1).double()])
    like = torch.zeros(2, 3, dtype=FLOAT)
    x = draw(sampler, process, like, grid, lambda x, t: Dirac((weight * x).sin()), grad=True)
    x.square().sum().backward()
    assert bool(weight.grad.isfinite()) and float(weight.grad) != 0
    if inner.requires_grad:
        assert bool(inner.grad.isfinite().all()) and bool((inner.grad != 0).any())


@pytest.mark.parametrize("sampler", DRAWING + STILL, ids=repr)
def test_the_memory_layout_of_a_state_changes_nothing(sampler):
    process, grid = Gaussian(VP()), grids.logsnr(Gaussian(VP()), 5)
    x = process.prior(torch.zeros(2, 3, 4, 4, dtype=FLOAT)).sample(derive(0, "x"))
    ends = []
    for start in (x, x.to(memory_format=torch.channels_last), x.mT.contiguous().mT):
        *_, frame = run(
            sampler, process, lambda x, t: Dirac(x.sin()), start, grid, derive(1, "noise")
        )
        ends.append(frame.after)
    assert all(torch.allclose(end, ends[0], rtol=0, atol=1e-12) for end in ends)


@pytest.mark.parametrize("sampler", DRAWING, ids=repr)
def test_what_draws_only_descends(sampler):
    process, up = Gaussian(VP()), torch.linspace(0.1, 0.9, 5, dtype=FLOAT)
    x = torch.ones(2, 2, dtype=FLOAT)
    with pytest.raises(InputError, match="ascends"):
        list(run(sampler, process, lambda x, t: Dirac(x * 0.5), x, up, torch.Generator()))


@pytest.mark.parametrize("sampler", STILL, ids=repr)
def test_what_draws_nothing_also_ascends(sampler):
    process, up = Gaussian(VP()), torch.linspace(0.1, 0.9, 5, dtype=FLOAT)
    x = torch.ones(2, 2, dtype=FLOAT)
    *_, frame = run(sampler, process, lambda x, t: Dirac(x * 0.5), x, up, torch.Generator())
    assert bool(frame.after.isfinite().all())


@pytest.mark.parametrize(
    "sampler", [s for s in STILL if not isinstance(s, EVODiffRelease)], ids=repr
)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_a_time_for_each_item_does_what_a_shared_one_does(process, sampler):
    x = process.prior(torch.zeros(3, 4, dtype=FLOAT)).sample(derive(0, "x"))
    shared, ends = grids.uniform(process, 6), []
    for grid in (shared, shared[:, None].expand(-1, 3)):
        noise = torch.Generator()
        *_, frame = run(sampler, process, lambda x, t: Dirac(x.sin()), x, grid, noise)
        ends.append(frame.after)
    assert torch.allclose(*ends, rtol=0, atol=1e-12)
