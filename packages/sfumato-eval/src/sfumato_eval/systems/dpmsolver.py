"""DPM-Solver: single exponential steps in log-SNR (Lu et al. 2022, arXiv:2206.00927).

Third order against DDIM at equal network calls, on `mixture16`.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping

from sfumato.survey import Claim, Measured, System, Trial


def trial(given: Trial) -> Mapping[str, Measured]:
    """Error at 12, 24 and 48 calls: `DPMSolver(3)` on the steps of the paper, beside DDIM."""
    from functools import partial

    from sfumato_methods.grids import logsnr
    from sfumato_methods.solvers import DDIM, DPMSolver, singlestep_grid

    from .mixture16 import Bench

    began, bench, found = time.monotonic(), Bench(given.seed, given.scale), {}
    for calls in (12, 24, 48):
        ours = bench.error(DPMSolver(3), partial(singlestep_grid, order=3), calls)
        ddim = bench.error(DDIM(), logsnr, calls)
        cost = time.monotonic() - began
        found[f"{calls} calls"] = Measured(ours, ddim, None, bench.count, cost)
    return found


system = System(
    id="dpmsolver",
    title="DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 "
    "Steps",
    source="Lu et al. 2022, arXiv:2206.00927",
    components=("dpmsolver-2", "dpmsolver-3", "dpmsolver-adaptive", "ddim", "vp"),
    trial=trial,
    claims=(
        Claim("in 24 calls the error is less than half that of DDIM", "24 calls", at_most=0.45),
        Claim("in 48 calls it is a quarter", "48 calls", at_most=0.25),
        Claim("already in 12 calls it is smaller by a fifth", "12 calls", at_most=0.8),
    ),
)
