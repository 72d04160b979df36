"""A Geometric Perspective on Diffusion Models.

Chen et al. 2023, arXiv:2305.19947. The headline is that sampling trajectories are nearly straight,
that the denoising trajectory arrives before them, and that the optimal one is mean shift. Here on
trajectories of the exact denoiser of a mixture, by Heun's method from sigma = 80: the distance from
the chord over its length, for the whole trajectory and, since the contraction from 80 rules that,
for its part below sigma = 3; the noise level at which the state, and the prediction, have come
within 20 per cent of the end; the samples of an early jump against those of the whole trajectory;
and the error of the identity with mean shift for a finite set.
"""

from __future__ import annotations

__all__ = ["arrival", "identity", "system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

N = 2000
STEPS = 400
NEAR, SHARE = 3.0, 0.2
SET = 500
"""Points of the finite set."""
CALLS = 20
"""Calls of the sampler that jumps."""


def arrival(levels: Tensor, distance: Tensor) -> float:
    """The first noise level, from the top, from which on the distance stays below `SHARE`."""
    late = (distance >= SHARE).nonzero()
    first = int(late.max()) + 1 if len(late) else 0
    return float(levels[min(first, len(levels) - 1)])


def identity(process: Any, data: Tensor, start: Tensor, grid: Tensor) -> float:
    """Largest difference of Euler's steps from convex combinations with x + s^2 grad log p_s.

    p_s is the kernel density of the set with bandwidth s, differentiated by autograd.
    """
    import torch

    from sfumato import run
    from sfumato_methods.measures.geometry import Empirical
    from sfumato_methods.solvers import Euler

    worst, denoiser = 0.0, Empirical(process, data)
    for frame in run(Euler(), process, denoiser, start, grid, torch.Generator()):
        level, below = float(process.sigma(frame.t)), float(process.sigma(frame.s))
        x = frame.before.clone().requires_grad_()
        logs = -0.5 * (x[:, None] - data).square().sum(-1) / level**2
        (slope,) = torch.autograd.grad(logs.logsumexp(1).sum(), x)
        shifted = frame.before + level**2 * slope
        want = below / level * frame.before + (1 - below / level) * shifted
        worst = max(worst, float((frame.after - want).abs().max()))
    return worst


def trial(given: Trial) -> Mapping[str, Measured]:
    """The shape of trajectories, the arrival of both, the jump, and the identity."""
    import torch

    from sfumato import random, run
    from sfumato_eval.systems.desk import Desk
    from sfumato_methods.measures.geometry import (
        chord_deviation,
        excess_length,
        jumped,
        record,
        relative_distance,
    )
    from sfumato_methods.solvers import ChurnHeun, DPMSolverPP

    n = max(50, round(N * given.scale))
    desk, began = Desk(given.seed, n), time.monotonic()
    with torch.inference_mode():
        path = record(
            run(
                ChurnHeun(0.0), desk.process, desk.denoise, desk.start, desk.grid(STEPS),
                torch.Generator(),
            )
        )  # fmt: skip
    levels = desk.process.sigma(torch.stack(path.times[:-1]))
    near = path.states[int((levels > NEAR).sum()) :]
    end = path.states[-1]
    state, mean = (
        arrival(levels, relative_distance(points, end)) for points in (path.states[:-1], path.means)
    )
    cost = time.monotonic() - began

    def straight(states: Tensor) -> float:
        return float(chord_deviation(states).amax(0).median())

    grid = desk.grid(CALLS)
    cut = jumped(grid, float(desk.process.time(-2 * torch.tensor(mean).double().log())))
    whole, short, equal = (
        desk.distance(desk.end(DPMSolverPP(), times))
        for times in (grid, cut, desk.grid(len(cut) - 1))
    )
    data = desk.target.sample(SET, random.derive(given.seed, "set"))
    error = identity(desk.process, data, desk.start[:50], grid)
    return {
        "straight": Measured(straight(path.states), 1.0, None, n, cost),
        "near": Measured(straight(near), 1.0, None, n, cost),
        "excess": Measured(float(excess_length(path.states).median()), 1.0, None, n, cost),
        "arrival": Measured(mean, state, None, n, cost),
        # no claim: a jump at that level against the whole grid, against a grid of as many calls,
        # and the share of calls that it takes
        "jump": Measured(short, whole, desk.floor, n, cost),
        "jump-equal": Measured(short, equal, desk.floor, n, cost),
        "jump-calls": Measured(len(cut) - 1, len(grid) - 1, None, n, cost),
        "identity": Measured(error, 1.0, None, 50, cost),
    }


system = System(
    id="geom",
    title="A Geometric Perspective on Diffusion Models",
    source="Chen et al. 2023, arXiv:2305.19947",
    components=("edm", "karras", "churn", "euler", "dpmpp-2m", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim("median of the largest distance from the chord over its length", "straight",
              at_most=0.02),
        Claim("the prediction arrives at a noise level higher than the state does", "arrival",
              at_least=1.8),
        Claim("Euler's step is a convex combination with mean shift, largest error", "identity",
              at_most=1e-10),
    ),
)  # fmt: skip
