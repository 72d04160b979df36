"""Eliminating Lipschitz Singularities in Diffusion Models.

Yang et al. 2023, arXiv:2306.11251. The headline is that a network which is told one time for a
whole interval near the data draws better (FID 9.5 to 6.6 on FFHQ, and a third less for DDIM), since
otherwise the noise that it has to predict changes ever faster with time. Here, on 8 x 8 digits, two
equal networks, one behind `SharedClock` in training and sampling, five intervals below t = 0.1: the
Frechet distance in the features of a classifier, with 20 steps of DDIM; and the largest change of
the predicted noise between the middles of neighbouring intervals, a fiftieth of t apart.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from sfumato import Denoiser

STEPS = 1000
CALLS = 20
DRAWN = 1000
UNTIL, PARTS = 0.1, 5


def trial(given: Trial) -> Mapping[str, Measured]:
    """Both networks, from the same seed and batches."""
    from functools import partial

    import torch

    from sfumato import Batch, random, sample
    from sfumato_eval.frechet import Frechet
    from sfumato_methods.grids import SharedClock, sensitivity, uniform
    from sfumato_methods.solvers import DDIM

    from . import digits8
    from .codeexec_example import forward_process

    began = time.monotonic()
    train, held = digits8.read(given.seed)
    steps, n = max(10, round(STEPS * given.scale)), max(100, round(DRAWN * given.scale))
    process = forward_process()
    metric = Frechet(digits8.classifier_features(train, given.seed))
    data = metric.summary(Batch(held.x))
    floor = metric.between(metric.summary(Batch(train.x)), data).value
    width = UNTIL / PARTS
    middles = (torch.arange(PARTS, dtype=torch.float64) + 0.5) * width
    shared = partial(SharedClock, process=process, until=UNTIL, parts=PARTS)

    def measured(denoiser: Denoiser) -> tuple[float, float]:
        """The Frechet distance, and the largest change of the noise."""
        drawn = sample(
            process,
            denoiser,
            torch.empty(n, 1, 8, 8),
            sampler=DDIM(),
            grid=uniform(process, CALLS),
            generator=random.derive(given.seed, "draw"),
        )
        far = metric.between(metric.summary(Batch(drawn.clamp(-1, 1))), data).value
        changes = (
            sensitivity(process, denoiser, held.x, t, t + width, random.derive(given.seed, "noise"))
            for t in middles[:-1]
        )
        return far, max(changes)

    far, change = measured(digits8.trained(train, given.seed, steps, shared))
    plain_far, plain_change = measured(digits8.trained(train, given.seed, steps))
    cost = time.monotonic() - began
    return {
        "frechet": Measured(far, plain_far, floor, n, cost),
        "sensitivity": Measured(change, plain_change, None, len(held.x), cost),
    }


system = System(
    id="etsdm",
    title="Eliminating Lipschitz Singularities in Diffusion Models",
    source="Yang et al. 2023, arXiv:2306.11251",
    components=("unet", "vp", "ddim", "uniform", "digits8", "frechet"),
    trial=trial,
    claims=(
        Claim(
            "digits of 20 steps of DDIM are nearer to data by a twentieth", "frechet", at_most=0.95
        ),
        Claim(
            "near the data the predicted noise changes with the interval five times less",
            "sensitivity",
            at_most=0.2,
        ),
    ),
)
