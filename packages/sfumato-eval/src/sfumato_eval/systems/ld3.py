"""Learning to Discretize Denoising Diffusion ODEs.

Tong, Hoang, Liu, Van den Broeck & Niepert 2024, arXiv:2405.15506. The headline is a grid that is
learned in minutes and makes a few steps do (FID 2.38 in 10 calls on CIFAR-10). Here, with the exact
denoiser of a mixture and DPM-Solver++(2M): the root mean square distance to a fine solution, from
noise that the grid was not learned on, on the learned grid against that of Karras et al. 2022.
Learning begins with the best of three hand-made grids (it stays near where it begins). The levels
alone are learned, from noise that stays where it is; beside it, without a claim, the best hand-made
grid is the baseline, and what the network is told is learned too.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping

from sfumato.survey import Claim, Measured, System, Trial

CALLS = (5, 8)
NOISES = 400
ROUNDS = 60


def trial(given: Trial) -> Mapping[str, Measured]:
    """In 5 and 8 calls: Karras et al., the best hand-made grid, and learned shifts beside it."""
    from functools import partial

    from sfumato import random
    from sfumato_methods.grids import Levels, karras, learn, logsnr, uniform
    from sfumato_methods.solvers import DPMSolverPP

    from .mixture16 import SAMPLES, SIGMA_MIN, Bench

    began, found = time.monotonic(), {}
    sampler = DPMSolverPP()
    bench = Bench(given.seed, given.scale)
    study = Bench(given.seed, NOISES / SAMPLES * given.scale, noise="study")
    for calls in CALLS:
        hand = {
            grid: Levels.of(bench.process, grid(bench.process, calls), SIGMA_MIN)
            for grid in (karras, logsnr, uniform)
        }
        best = min(hand.values(), key=lambda grid: study.error(sampler, grid, calls))  # noqa: B023
        published = bench.error(sampler, hand[karras], calls)
        fixed = bench.error(sampler, best, calls)
        for shifted in (False, True):
            levels = learn(
                bench.process,
                lambda _: bench.denoiser,
                study.start,
                study.fine,
                calls,
                sampler=sampler,
                generator=random.derive(given.seed, "learn"),
                start=best,
                rounds=max(5, round(ROUNDS * given.scale)),
                batch=80,
                shifted=shifted,
            ).levels
            far, cost = bench.error(sampler, levels, calls), time.monotonic() - began
            measured = partial(Measured, far, floor=None, n=bench.count, cost=cost)
            if shifted:
                found[f"{calls} calls, shifts"] = measured(published)
            else:
                found[f"{calls} calls"] = measured(published)
                found[f"{calls} calls, best by hand"] = measured(fixed)
    return found


system = System(
    id="ld3",
    title="Learning to Discretize Denoising Diffusion ODEs",
    source="Tong, Hoang, Liu, Van den Broeck & Niepert 2024, arXiv:2405.15506",
    components=("dpmpp-2m", "karras", "logsnr", "uniform", "vp"),
    trial=trial,
    claims=(
        Claim("in 5 calls the error is half that of the grid of EDM", "5 calls", at_most=0.5),
        Claim("and in 8 calls likewise", "8 calls", at_most=0.5),
    ),
)
