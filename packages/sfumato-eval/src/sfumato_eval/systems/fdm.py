"""Fast Diffusion Model.

Wu et al. 2023, arXiv:2306.08249. The headline is that momentum in the forward process halves the
training and triples the speed of sampling. Here, on 8 x 8 digits: the optimiser steps after which
the network with the input scale of momentum, its weight warmed up, is as near to the data as one
with the input scale of Karras et al. 2022 is at its end, over the steps of the latter. Both start
from the same weights and see the same batches and noise. Two more arms take one of the two changes.
"""

from __future__ import annotations

__all__ = ["system"]

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from .desk8 import Digits8

STEPS, LOOKS, WARM = 1200, 16, 0.25
"""Optimiser steps, looks at the distance on the way, share of the steps with a bounded weight."""
N, CALLS = 500, 18


def arm(digits: Digits8, momentum: bool, warm: bool, steps: int, n: int) -> list[float]:
    """Distances to the held-out digits after each share of the training."""
    import torch

    from sfumato import Preconditioned, random, sample
    from sfumato_methods.gaussian import edm
    from sfumato_methods.gaussian.momentum import Momentum, warm_up
    from sfumato_methods.grids import karras
    from sfumato_methods.solvers import DPMSolverPP

    from .desk8 import Network

    process, scale = edm(), digits.sigma_data
    net = Network(random.derive(digits.seed, "network"))
    kind = Momentum if momentum else Preconditioned
    denoiser = kind(net, process, "edm", sigma_data=scale)
    every, made, found = steps // LOOKS, 0, []

    def loss(x0: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        level = scale * torch.exp(-0.5 + 1.2 * random.normal(x0[:, 0, 0, 0].double(), generator))
        t = process.time(-2 * level.log())
        weight = level**-2 + scale**-2
        if warm:
            weight = weight.clamp_max(warm_up(made, round(WARM * steps)))
        drawn = process.draw(x0, t, generator)
        error: torch.Tensor = denoiser(drawn.x, t).loss(drawn.target) * weight
        return error.mean()

    def look(step: int) -> None:
        nonlocal made
        made = step
        if step % every == 0:
            x = sample(
                process,
                denoiser,
                torch.empty(n, 1, 8, 8),
                sampler=DPMSolverPP(),
                grid=karras(process, CALLS),
                generator=random.derive(digits.seed, "samples"),
            )
            found.append(digits.frechet(x, digits.held))

    digits.fit(denoiser, loss, steps, look)
    return found


def reached(distances: list[float], wanted: float, steps: int) -> float:
    """Steps until a distance is reached; never counts as one look more than there were."""
    place = next((i for i, value in enumerate(distances) if value <= wanted), LOOKS)
    return (place + 1) * (steps // LOOKS)


def trial(given: Trial) -> Mapping[str, Measured]:
    """Momentum with warm-up, and each of the two alone, against neither."""
    from .desk8 import Digits8

    digits = Digits8(given.seed)
    steps = LOOKS * max(4, math.ceil(STEPS * given.scale / LOOKS))
    n = max(100, round(N * given.scale))
    floor = digits.frechet(digits.train[:500], digits.held)
    plain, found = arm(digits, False, False, steps, n), {}
    for key, momentum, warm in (
        ("momentum-warm", True, True),
        ("momentum", True, False),
        ("warm", False, True),
    ):
        began = time.monotonic()
        distances = arm(digits, momentum, warm, steps, n)
        cost = time.monotonic() - began
        needed = reached(distances, plain[-1], steps)
        found[key] = Measured(needed, reached(plain, plain[-1], steps), None, n, cost)
        found[f"{key}-end"] = Measured(distances[-1], plain[-1], floor, n, cost)
    return found


system = System(
    id="fdm",
    title="Fast Diffusion Model",
    source="Wu et al. 2023, arXiv:2306.08249",
    components=("edm", "karras", "dpmpp-2m", "frechet"),
    trial=trial,
    claims=(
        Claim(
            "momentum and warm-up reach the last distance in three quarters of the steps",
            "momentum-warm",
            at_most=0.75,
        ),
    ),
)
