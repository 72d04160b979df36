"""Dirichlet Diffusion Score Model for Biological Sequence Generation (Avdeyev et al. 2023).

Classes are noised on the simplex, by a diffusion that ends in a flat Dirichlet law. The headlines
are boards of Sudoku made from nothing that keep all rules, sharper with time dilation, and
promoters whose activity follows a given track better than those of discrete diffusion (0.0334
against 0.0375 of D3PM with uniform noise, a ratio of 0.89). Here all grids of 4 x 4, and real
promoters of Drosophila that hold a known motif, with a track of where (see `promoters`); the
baseline is D3PM with uniform noise, with equal networks, data, steps and calls.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

BOARDS, CALLS, DILATION = 200, 100, 8.0
WIDTH, DEPTH, HEADS = 48, 3, 4
STEPS, BATCH, LEARNING = 600, 32, 4e-3
LENGTH, STRANDS, STRAND_CALLS, STRAND_DILATION = 48, 200, 50, 4.0
STRAND_WIDTH, STRAND_STEPS, STRAND_BATCH, STRAND_LEARNING = 48, 450, 32, 5e-3
ACTIVE = 0.5
"""Least height of the track of the strands that are taken: those with a motif, about a fifth."""
_CLASSES = (2, 4, 20)
_TIMES = (0.02, 0.1, 0.3, 0.6, 0.9)


def trial(given: Trial) -> Mapping[str, Measured]:
    """Look at the process itself, then train pairs of models of boards and of promoters.

    - `density`: largest |integral of the density of a coordinate - 1|, over 1e-6, for 2, 4 and 20
      classes at five times;
    - `mean`: largest |mean of that density - exact mean|, over 1e-3;
    - `valid`: share of boards that keep all rules, with dilation 8, over 1 (that of real ones);
    - `dilation`: the same over the share with dilation 1;
    - `uniform`: the same over the share of D3PM with uniform noise;
    - `undilated`: the share with dilation 1 over that of D3PM. No bound;
    - `promoters`: mean squared error of the track of samples, with dilation 4, over that of D3PM;
    - `promoters-undilated`: the same with dilation 1. No bound.
    """
    return _process() | _boards(given) | _promoters(given)


def _process() -> dict[str, Measured]:
    import torch
    from numpy.polynomial.legendre import leggauss

    from sfumato_methods.simplex import Simplex

    began, density, mean = time.monotonic(), 0.0, 0.0
    for classes in _CLASSES:
        process = Simplex(classes)
        node, weight = (torch.from_numpy(v) for v in leggauss(600))
        place = (1 + node) / 2
        weight = weight / 2 * (classes - 1) * (1 - place) ** (classes - 2)
        blank = torch.zeros(1, 1, dtype=torch.long)
        for at in _TIMES:
            h = process.evidence(blank, torch.tensor(at, dtype=torch.float64))
            law = weight * h.log(place[:, None]).exp()[:, 0]
            exact = 1 - at + at / classes
            density = max(density, abs(float(law.sum()) - 1))
            mean = max(mean, abs(float((law * place).sum()) - exact))
    cost, n = time.monotonic() - began, len(_CLASSES) * len(_TIMES)
    return {
        "density": Measured(density, 1e-6, None, n, cost),
        "mean": Measured(mean, 1e-3, None, n, cost),
    }


def _boards(given: Trial) -> dict[str, Measured]:
    import torch

    from sfumato import Ancestral
    from sfumato_data import Tensors
    from sfumato_methods.simplex import Dilated

    from .simplices import BoardNet, pair, walked
    from .sudoku import FOUR, small_boards, solved

    began, n = time.monotonic(), max(20, round(BOARDS * given.scale))
    models = pair(
        lambda: BoardNet(WIDTH, DEPTH, HEADS), 4, Tensors(small_boards()), given,
        name="boards", steps=STEPS, batch=BATCH, lr=LEARNING,
    )  # fmt: skip
    like = torch.zeros(n, 16, dtype=torch.long)
    share = {}
    for key, kind, sampler in (
        ("dilated", "simplex", Dilated(DILATION)),
        ("plain", "simplex", Dilated(1.0)),
        ("uniform", "uniform", Ancestral()),
    ):
        drawn = walked(models[kind], sampler, like, CALLS, given.seed)
        share[key] = float(solved(drawn, FOUR).double().mean())
        print(f"boards, {key}: {share[key]:.3f} keep all rules", flush=True)
    cost = time.monotonic() - began
    return {
        "valid": Measured(share["dilated"], 1.0, 1.0, n, cost),
        "dilation": Measured(share["dilated"], share["plain"], 1.0, n, cost),
        "uniform": Measured(share["dilated"], share["uniform"], 1.0, n, cost),
        "undilated": Measured(share["plain"], share["uniform"], 1.0, n, cost),
    }


def _promoters(given: Trial) -> dict[str, Measured]:
    import sfumato_data
    from sfumato import Ancestral, random
    from sfumato_data import Tensors
    from sfumato_methods.simplex import Dilated

    from .promoters import activity, strands
    from .simplices import StrandNet, pair, walked

    began, n = time.monotonic(), max(20, round(STRANDS * given.scale))
    x = strands(sfumato_data.fetch("promoters"), LENGTH)
    x = x[activity(x).amax(1) > ACTIVE]
    order = random.permutation(len(x), random.derive(given.seed, "split"))
    held, train = x[order[:n]], x[order[n:]]
    models = pair(
        lambda: StrandNet(STRAND_WIDTH), 4, Tensors(train, {"track": activity(train)}), given,
        name="promoters", steps=STRAND_STEPS, batch=STRAND_BATCH, lr=STRAND_LEARNING,
    )  # fmt: skip
    track = activity(held)
    error = {}
    for key, kind, sampler in (
        ("dilated", "simplex", Dilated(STRAND_DILATION)),
        ("plain", "simplex", Dilated(1.0)),
        ("uniform", "uniform", Ancestral()),
    ):
        drawn = walked(models[kind], sampler, held, STRAND_CALLS, given.seed, track=track)
        error[key] = _gap(drawn, track)
        print(f"promoters, {key}: error {error[key]:.5f}", flush=True)
    print(f"promoters, tracks of others: {_gap(held.roll(1, 0), track):.5f}", flush=True)
    cost = time.monotonic() - began
    return {
        "promoters": Measured(error["dilated"], error["uniform"], 0.0, n, cost),
        "promoters-undilated": Measured(error["plain"], error["uniform"], 0.0, n, cost),
    }


def _gap(x: Tensor, track: Tensor) -> float:
    from .promoters import activity

    return float((activity(x) - track).square().mean())


system = System(
    id="ddsm",
    title="Dirichlet Diffusion Score Model for Biological Sequence Generation",
    source="Avdeyev et al. 2023, arXiv:2305.10699",
    components=("simplex", "dilated", "ancestral", "uniform"),
    trial=trial,
    recipe="language/dna",
    claims=(
        Claim("densities integrate to 1 within 1e-6", "density", at_most=1.0),
        Claim("their means are exact within 1e-3", "mean", at_most=1.0),
        Claim("nine of ten boards keep all rules, with dilation 8", "valid", at_least=0.9),
        Claim("dilation 8 gives 1.1 times as many as none", "dilation", at_least=1.1),
        Claim("1.1 times as many as discrete diffusion with uniform noise", "uniform",
              at_least=1.1),
        Claim("promoters follow their track better than those of uniform noise", "promoters",
              at_most=0.95),
    ),
)  # fmt: skip
