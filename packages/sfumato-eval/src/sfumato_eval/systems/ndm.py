"""Neural Diffusion Models.

Bartosh, Vetrov & Naesseth 2023, arXiv:2310.08337. The headline is a lower bound on the likelihood
(2.70 bits per dimension on CIFAR-10) when the data is bent by a learned network before it is
noised. Here: real 8 x 8 digits of 17 levels, dequantised; bits per dimension by the continuous
bound on held-out images, of NDM against the variational diffusion model with the same denoiser
from the same weights, on the same data and noise for the same steps; and against one whose denoiser
is wider, by as many parameters as the network of NDM has.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import Any

from sfumato.survey import Claim, Measured, System, Trial

STEPS, BATCH = 1000, 128
WIDTH, DEPTH = 256, 3
BEND_WIDTH, BEND_DEPTH = 128, 1
START = 1e-3
LEVEL = 1 / 8
"""Distance of two grey levels of pixels in [-1, 1]."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """All arms: bits per dimension of NDM beside the same denoiser, and beside the wider one."""
    from sfumato import Preconditioned, random
    from sfumato_data import fetch
    from sfumato_eval.bits import bits_per_dim, dequantise
    from sfumato_eval.systems.bounded import Net, bound_of, count, fitted, zeroed
    from sfumato_eval.systems.codeexec import halves
    from sfumato_methods.bounds import Continuous
    from sfumato_methods.gaussian import VP, Gaussian
    from sfumato_methods.learned import NDM

    base, bound = Gaussian(VP()), Continuous(START)
    steps = max(20, round(STEPS * given.scale))
    train, held = (part.x.flatten(1) for part in halves(fetch("digits8"), given.seed))
    held = dequantise(held, LEVEL, random.derive(given.seed, "dequantise"))

    def batches(generator: Any) -> Any:
        x = train[random.integers(0, len(train), (BATCH,), generator)]
        return dequantise(x, LEVEL, generator)

    bent = zeroed(Net(64, BEND_WIDTH, BEND_DEPTH, random.derive(given.seed, "bend")))
    wider = WIDTH
    while count(_net(wider, given.seed)) < count(_net(WIDTH, given.seed), bent):
        wider += 1
    bits, began = {}, time.monotonic()
    for name in ("vdm", "wider", "ndm"):
        process: Any = NDM(VP(), bent) if name == "ndm" else base
        net = _net(wider if name == "wider" else WIDTH, given.seed)
        denoiser = Preconditioned(net, base, "edm", sigma_data=float(train.std()))
        fitted(process, denoiser, bound, batches, steps, random.derive(given.seed, "training"))
        source = random.derive(given.seed, "measure")
        nats = bound_of(process, denoiser, bound, held, source, times=16)
        bits[name] = float(bits_per_dim(nats, 64, LEVEL).mean())
    cost = time.monotonic() - began
    return {
        "same": Measured(bits["ndm"], bits["vdm"], None, len(held), cost),
        "wider": Measured(bits["ndm"], bits["wider"], None, len(held), cost),
    }


def _net(width: int, seed: int) -> Any:
    from sfumato import random
    from sfumato_eval.systems.bounded import Net

    return Net(64, width, DEPTH, random.derive(seed, "weights"))


system = System(
    id="ndm",
    title="Neural Diffusion Models",
    source="Bartosh, Vetrov & Naesseth 2023, arXiv:2310.08337",
    components=("ndm", "vp", "digits8"),
    recipe="images/learned",
    trial=trial,
    claims=(
        Claim("bits per dimension of digits: lower than with the same denoiser under VP", "same",
              at_most=0.98),
        Claim("likewise, the other denoiser being wider by as many parameters", "wider",
              at_most=0.98),
    ),
)  # fmt: skip
