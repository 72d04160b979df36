"""Align Your Steps: Optimizing Sampling Schedules in Diffusion Models.

Sabour, Fidler & Kreis 2024, arXiv:2404.14507. The headline is better output in few steps than from
hand-made grids, for almost all solvers. Here, with the exact denoiser of a mixture and ancestral
sampling in 10 calls: the sliced Wasserstein distance to the data in excess of its floor, on the
grid that minimises their bound against the best hand-made one between the same noise levels. A
hand-made grid may end on its last level and go on to 0, or put 0 in its place as theirs does: both
are tried.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Process

N = 10_000
PATHS = 2048
"""Noising paths that the bound is averaged over."""
CALLS = 10
SIGMA_MIN = 0.03


def by_hand(process: Process, calls: int) -> dict[str, Tensor]:
    """Equal steps of the logarithm, and those of Karras et al. 2022, down to the same level."""
    from functools import partial

    from sfumato_methods.grids import karras, logsnr

    found = {}
    for name, grid in (("logsnr", logsnr), ("karras", karras)):
        made = partial(grid, process, sigma_min=SIGMA_MIN)
        longer = made(calls + 1)
        found[name] = made(calls)
        found[f"{name}, 0 in place of its last level"] = longer[longer != longer[-2]]
    return found


def trial(given: Trial) -> Mapping[str, Measured]:
    """The excess distance, and the bound on fresh paths beside that of equal log steps."""
    from sfumato import Ancestral, random
    from sfumato_methods.grids import align, klub

    from .desk import Desk

    began = time.monotonic()
    n, paths = max(200, round(N * given.scale)), max(100, round(PATHS * given.scale))
    desk = Desk(given.seed, n)
    process = desk.process
    levels = align(
        process,
        desk.denoise,
        desk.target.sample(paths, random.derive(given.seed, "paths")),
        CALLS,
        generator=random.derive(given.seed, "align"),
        sigma_min=SIGMA_MIN,
    )

    def excess(grid: Tensor) -> float:
        return desk.distance(desk.end(Ancestral(), grid)) - desk.floor

    hand = by_hand(process, CALLS)
    aligned = levels(process, CALLS)
    excesses = excess(aligned), min(map(excess, hand.values()))

    data = desk.target.sample(paths, random.derive(given.seed, "other paths"))
    cost = klub(process, desk.denoise, data, random.derive(given.seed, "bound"))

    def bound(grid: Tensor) -> float:
        ratio = [*(-0.5 * process.logsnr(grid[:-1])).exp().tolist(), SIGMA_MIN]
        return sum(cost(b, a) for b, a in zip(ratio, ratio[1:], strict=False))

    bounds = bound(aligned), bound(hand["logsnr, 0 in place of its last level"])
    spent = time.monotonic() - began
    return {
        "excess": Measured(*excesses, desk.floor, n, spent),
        "bound": Measured(*bounds, None, paths, spent),
    }


system = System(
    id="ays",
    title="Align Your Steps: Optimizing Sampling Schedules in Diffusion Models",
    source="Sabour, Fidler & Kreis 2024, arXiv:2404.14507",
    components=("edm", "ancestral", "logsnr", "karras", "ays-sd", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim(
            "10 aligned steps exceed the floor by less than the best hand-made grid",
            "excess",
            at_most=0.7,
        ),
    ),
)
