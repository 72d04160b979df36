"""PFGM++: Unlocking the Potential of Physics-Inspired Generative Models.

Xu et al. 2023, arXiv:2302.04265. The headlines are that the number D of added dimensions spans
Poisson flows and diffusion models, and that a small D is the more robust: to noise put into the
states on the way, and to weights of few bits. Here: the distance of the exact denoiser of a few
points to that of `edm` at D = 10^6, over that at D = 16; and on 8 x 8 digits, what noise and
quantisation add to the Frechet distance of samples, with D = 64 over diffusion.
"""

from __future__ import annotations

__all__ = ["limit", "system"]

import copy
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .desk8 import Digits8

STEPS, N, CALLS = 1200, 500, 18
SMALL = 64.0
NOISE, BITS = 0.2, 5
"""Noise added after each step as a share of sigma; bits of a quantised weight."""


def limit(seed: int, freedom: float) -> float:
    """Largest difference of the exact denoisers of 8 points in 16 dimensions, D and diffusion."""
    import torch

    from sfumato import random
    from sfumato_methods.gaussian import edm, pfgmpp
    from sfumato_testing import Enumerated

    generator = random.derive(seed, "limit")
    points = random.normal(torch.empty(8, 16, dtype=torch.float64), generator)
    target, plain, heavy = Enumerated(points, [0.125] * 8), edm(), pfgmpp(freedom)
    worst = 0.0
    for level in (0.3, 0.6, 1.2, 2.4):
        t = torch.tensor(level / 80, dtype=torch.float64)
        x = plain.marginal(points[:1].expand(200, 16), t).sample(generator)
        gap = target.denoiser(heavy)(x, t).mean - target.denoiser(plain)(x, t).mean
        worst = max(worst, float(gap.abs().max()))
    return worst


def trained(digits: Digits8, process: Any, steps: int) -> nn.Module:
    """A preconditioned network of the digits under a process."""
    import torch

    from sfumato import Preconditioned, random

    from .desk8 import Network

    scale = digits.sigma_data
    net = Network(random.derive(digits.seed, "network"))
    denoiser = Preconditioned(net, process, "edm", sigma_data=scale)

    def loss(x0: Tensor, generator: torch.Generator) -> Tensor:
        level = scale * torch.exp(-0.5 + 1.2 * random.normal(x0[:, 0, 0, 0].double(), generator))
        t = process.time(-2 * level.log())
        drawn = process.draw(x0, t, generator)
        error: Tensor = denoiser(drawn.x, t).loss(drawn.target) * (level**-2 + scale**-2)
        return error.mean()

    digits.fit(denoiser, loss, steps)
    return denoiser


def sampled(digits: Digits8, process: Any, denoiser: Any, n: int, noise: float = 0.0) -> float:
    """Distance to the held-out digits of samples, whose states may be disturbed on the way."""
    import torch

    from sfumato import random, sample
    from sfumato_methods.grids import karras
    from sfumato_methods.solvers import DDIM

    def disturbed(process: Any, frame: Any, generator: Any) -> Any:
        return frame.after + noise * process.sigma(frame.s) * random.normal(frame.after, generator)

    with torch.no_grad():
        x = sample(
            process,
            denoiser,
            torch.empty(n, 1, 8, 8),
            sampler=DDIM(),
            grid=karras(process, CALLS),
            generator=random.derive(digits.seed, "samples"),
            constraint=disturbed if noise else None,
        )
    return digits.frechet(x, digits.held)


def quantised(denoiser: nn.Module) -> nn.Module:
    """A copy whose matrices have `BITS` bits an entry, evenly spaced over their range."""
    import torch

    rounded, levels = copy.deepcopy(denoiser), 2**BITS - 1
    with torch.no_grad():
        for weight in rounded.parameters():
            if weight.ndim > 1:
                low, high = weight.min(), weight.max()
                step = (high - low) / levels
                weight.copy_(((weight - low) / step).round() * step + low)
    return rounded


def trial(given: Trial) -> Mapping[str, Measured]:
    """The limit, and what disturbances add with D = 64 and without tails."""
    from sfumato_methods.gaussian import EDM, HeavyTailed, edm

    from .desk8 import Digits8

    began = time.monotonic()
    near, far = limit(given.seed, 1e6), limit(given.seed, 16)
    found = {"limit": Measured(near, far, None, 800, time.monotonic() - began)}
    digits = Digits8(given.seed)
    steps, n = max(20, math.ceil(STEPS * given.scale)), max(100, round(N * given.scale))
    floor = digits.frechet(digits.train[:500], digits.held)
    added: dict[str, list[float]] = {"noise": [], "bits": [], "clean": []}
    for process in (HeavyTailed(EDM(), SMALL), edm()):
        denoiser = trained(digits, process, steps)
        clean = sampled(digits, process, denoiser, n)
        added["clean"].append(clean)
        added["noise"].append(sampled(digits, process, denoiser, n, NOISE) - clean)
        added["bits"].append(sampled(digits, process, quantised(denoiser), n) - clean)
    cost = time.monotonic() - began
    for key, (ours, theirs) in added.items():
        found[key] = Measured(ours, theirs, floor if key == "clean" else None, n, cost)
    return found


system = System(
    id="pfgmpp",
    title="PFGM++: Unlocking the Potential of Physics-Inspired Generative Models",
    source="Xu et al. 2023, arXiv:2302.04265",
    components=("pfgmpp", "edm", "karras", "ddim", "frechet"),
    trial=trial,
    claims=(
        Claim("with many added dimensions it is diffusion", "limit", at_most=1e-3),
        Claim("noise on the way harms D = 64 less than diffusion", "noise", at_most=0.8),
        Claim("weights of 5 bits harm D = 64 less than diffusion", "bits", at_most=0.8),
    ),
)
