"""DEIS: Adams-Bashforth on the noise prediction (Zhang & Chen 2022, arXiv:2204.13902).

Cubic extrapolation in rho and in time against DDIM at equal network calls, on `mixture16`.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping

from sfumato.survey import Claim, Measured, System, Trial


def trial(given: Trial) -> Mapping[str, Measured]:
    """Error at 12 and 24 calls on the grid of Karras et al.: rhoAB3 and tAB3 beside DDIM."""
    from sfumato_methods.grids import karras
    from sfumato_methods.solvers import DDIM, RhoAB, TimeAB

    from .mixture16 import Bench

    began, bench, found = time.monotonic(), Bench(given.seed, given.scale), {}
    for calls in (12, 24):
        ddim = bench.error(DDIM(), karras, calls)
        for name, sampler in (("rhoAB3", RhoAB(3)), ("tAB3", TimeAB(3))):
            ours = bench.error(sampler, karras, calls)
            cost = time.monotonic() - began
            found[f"{name}, {calls} calls"] = Measured(ours, ddim, None, bench.count, cost)
    return found


system = System(
    id="deis",
    title="Fast Sampling of Diffusion Models with Exponential Integrator",
    source="Zhang & Chen 2022, arXiv:2204.13902",
    components=("deis-tab3", "deis-rhoab3", "deis-rhork", "ipndm", "exp-ab3-noise", "ddim", "vp"),
    trial=trial,
    claims=(
        Claim("rhoAB3 errs by less than DDIM in 12 calls", "rhoAB3, 12 calls", at_most=0.7),
        Claim("and by less than half in 24", "rhoAB3, 24 calls", at_most=0.5),
        Claim("tAB3 errs by less than DDIM in 12 calls", "tAB3, 12 calls", at_most=0.7),
    ),
)
