"""Analyzing Diffusion as Serial Reproduction.

Marjieh et al. 2022, arXiv:2209.14821. The headline is that diffusion is serial reproduction, in
which the family of the noise hardly matters and the schedule of its levels does. Here priors on a
line, of four modes 2 apart, and chains from a uniform law whose observers know them exactly, so
that total variation to the prior is a sum without sampling error; means over `PRIORS` priors.
Graded is 15 levels from 2, the distance of modes, down to 0.1, less than the width of one.

What the claims say apart: a schedule of two levels is worse where it has two links, as a sampler of
two steps has; with as many links as the graded one it is better, since an observer who knows the
prior exactly forgets most where the noise is largest.
"""

from __future__ import annotations

__all__ = ["system"]

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

PRIORS = 12
LEVELS, HIGH, LOW = 15, 2.0, 0.1
POINTS, REACH = (-5.0, 5.0, 151), (-17.0, 17.0, 511)
MODES, WIDTH = 4, 0.15
MATCHED = ("gaussian", "laplace", "uniform")
"""Families whose noise has the same variance and leaves the signal at its size."""


def prior(seed: int, number: int, points: Tensor) -> Tensor:
    """(X,) four modes about 2 apart, of weights between 0.5 and 1.5."""
    import torch

    from sfumato import random

    generator = random.derive(seed, "prior", number)
    moved = 0.4 * (random.uniform((MODES,), generator) - 0.5)
    weights = 0.5 + random.uniform((MODES,), generator)
    means = torch.linspace(-3, 3, MODES, dtype=torch.float64) + moved
    density = (weights * (-0.5 * ((points - means) / WIDTH).square()).exp()).sum(1)
    law: Tensor = density / density.sum()
    return law


def distances(
    priors: Sequence[Tensor], schedules: Mapping[str, Sequence[Tensor]]
) -> dict[str, float]:
    """Mean total variation to the prior after each schedule, from the uniform law."""
    import torch

    from sfumato_methods.measures.serial import after, total_variation

    return {
        name: sum(
            total_variation(after(torch.full_like(p, 1 / len(p)), p, kernels), p) for p in priors
        )
        / len(priors)
        for name, kernels in schedules.items()
    }


def trial(given: Trial) -> Mapping[str, Measured]:
    """All families under the graded schedule, and the worst case of each other schedule."""
    import torch

    from sfumato_methods.measures.serial import FAMILIES, channel, lattice

    points, seen = lattice(*POINTS), lattice(*REACH)
    n = max(2, round(PRIORS * given.scale))
    priors = [prior(given.seed, i, points) for i in range(n)]
    ends = math.log10(HIGH), math.log10(LOW)
    levels = torch.logspace(*ends, LEVELS, dtype=torch.float64)
    began, found = time.monotonic(), {}
    for name, noise in FAMILIES.items():
        graded = [channel(noise, points, level, seen) for level in levels.tolist()]
        first, last, half = graded[0], graded[-1], LEVELS // 2
        found[name] = distances(
            priors,
            {
                "graded": graded,
                "one": [last] * LEVELS,
                "two": [first, last],
                "equal": [first] * half + [last] * (LEVELS - half),
            },
        )
    cost = time.monotonic() - began

    def least(key: str) -> Measured:
        name = min(MATCHED, key=lambda each: found[each][key] / found[each]["graded"])
        return Measured(found[name][key], found[name]["graded"], None, n, cost)

    graded_of = sorted(found[name]["graded"] for name in MATCHED)
    return {
        "families": Measured(graded_of[-1], graded_of[0], None, n, cost),
        # no claim: the signal fades as well, so that it hides more than the others at this variance
        "fade": Measured(found["fade"]["graded"], found["gaussian"]["graded"], None, n, cost),
        **{key: least(key) for key in ("one", "two", "equal")},
    }


system = System(
    id="serialrep",
    title="Analyzing Diffusion as Serial Reproduction",
    source="Marjieh et al. 2022, arXiv:2209.14821",
    components=(),
    trial=trial,
    claims=(
        Claim("largest over smallest distance among three families", "families", at_most=1.2),
        Claim("15 links at the finest level alone against graded", "one", at_least=3.0),
        Claim("one link at each of two levels against graded", "two", at_least=3.0),
        Claim("two levels with as many links as graded, against it", "equal", at_least=3.0),
    ),
)
