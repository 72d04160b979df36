"""Understanding Diffusion Models via Code Execution (Yu 2025, arXiv:2512.07201).

The paper explains diffusion by a small program that trains and samples. Ours is
`codeexec_example.py`, on real 8 x 8 digits; the trial runs it and measures what it draws.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from .codeexec_example import Digits

TRAIN_STEPS = 800
HELD = 500
"""Images that training never sees; as many are drawn."""

FEW = 20
MANY = 200
"""Steps of DDIM and of DDPM."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train the example on the CPU, and measure its samples against held-out digits.

    The measure is the sliced 2-Wasserstein distance of pixels in [-1, 1]; its floor is that between
    training and held-out images. Each sample is asked for the digit of one held-out image.

    - `noise`: DDPM beside noise, N(0, I) drawn as sampling does at its start, not clamped;
    - `few-steps`: DDIM beside DDPM, with a tenth of the calls of the network.
    """
    from sfumato import Batch, random
    from sfumato_data import fetch
    from sfumato_eval.sliced import SlicedWasserstein

    from . import codeexec_example as example

    began = time.monotonic()
    train, held = halves(fetch("digits8"), given.seed)
    denoiser = example.train(train, max(1, round(TRAIN_STEPS * given.scale)), given.seed)
    asked = denoiser.given(label=held.label)
    metric, source = SlicedWasserstein(), random.derive(given.seed, "draw")
    data = metric.summary(Batch(held.x))
    drawn = {
        "ddpm": example.ddpm(asked, HELD, random.fork(source, "ddpm"), MANY),
        "ddim": example.ddim(asked, HELD, random.fork(source, "ddim"), FEW),
        "noise": random.normal(held.x, random.fork(source, "noise")),
        "floor": train.x[:HELD],
    }
    far = {name: metric.between(metric.summary(Batch(x)), data).value for name, x in drawn.items()}
    cost = time.monotonic() - began
    return {
        "noise": Measured(far["ddpm"], far["noise"], far["floor"], HELD, cost),
        "few-steps": Measured(far["ddim"], far["ddpm"], far["floor"], HELD, cost),
    }


def halves(folder: Path, seed: int) -> tuple[Digits, Digits]:
    """What is trained on, and the images that are held out, in an order drawn from the seed."""
    from sfumato import random

    from .codeexec_example import Digits, read

    digits = read(folder)
    order = random.permutation(len(digits.x), random.derive(seed, "held"))
    x, label = digits.x[order], digits.label[order]
    return Digits(x[HELD:], label[HELD:]), Digits(x[:HELD], label[:HELD])


system = System(
    id="codeexec",
    title="Understanding Diffusion Models via Code Execution",
    source="Yu 2025, arXiv:2512.07201",
    components=("unet", "ancestral", "ddim", "uniform", "digits8", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim(
            "digits drawn by DDPM are five times closer to data than noise", "noise", at_most=0.2
        ),
        Claim(
            "DDIM with a tenth of the network calls is as close, within 30 %",
            "few-steps",
            at_most=1.3,
        ),
    ),
)
