"""Variational Masked Diffusion Models (Zhang et al. 2025).

Tokens that are drawn in one step are independent of each other, unless a latent variable ties them
together. Here pairs of 16 tokens of which one is a permutation of the other: in one step, a masked
model can do no better than chance; with a latent it can. Both are one small network (the latent is
held at 0 in the masked model), with equal data, steps and seeds.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

TOKENS, TRAIN, N = 16, 8000, 4000
STEPS, BATCH, LEARNING = 2500, 256, 2e-3


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train with and without a latent, draw pairs in one step.

    - `consistency`: share of pairs that fit, with the latent over without it; the floor is that of
      the data;
    - `chance`: share of pairs without it, over 1/16;
    - `marginal`: total variation of the first token, with the latent, from the even law.
    """
    import torch

    from sfumato import random

    from .latents import masked, variational

    began = time.monotonic()
    other = random.permutation(TOKENS, random.derive(given.seed, "pairs"))
    first = random.integers(0, TOKENS, (TRAIN,), random.derive(given.seed, "train"))
    train = torch.stack((first, other[first]), 1)
    n = max(100, round(N * given.scale))
    found: dict[str, Tensor] = {
        "vmd": variational(train, TOKENS, n, given, STEPS, BATCH, LEARNING),
        "mdm": masked(train, TOKENS, n, given, STEPS, BATCH, LEARNING),
    }
    fits = {name: float((other[x[:, 0]] == x[:, 1]).double().mean()) for name, x in found.items()}
    share = torch.bincount(found["vmd"][:, 0], minlength=TOKENS).double() / n
    variation = float((share - 1 / TOKENS).abs().sum()) / 2
    print(f"consistent: {fits['vmd']:.3f} with a latent, {fits['mdm']:.3f} without", flush=True)
    cost = time.monotonic() - began
    return {
        "consistency": Measured(fits["vmd"], fits["mdm"], 1.0, n, cost),
        "chance": Measured(fits["mdm"], 1 / TOKENS, None, n, cost),
        "marginal": Measured(variation, 1.0, None, n, cost),
    }


system = System(
    id="vmd",
    title="Variational Masked Diffusion Models",
    source="Zhang et al. 2025, arXiv:2510.23606",
    components=("absorbing", "cached-ancestral"),
    trial=trial,
    claims=(
        Claim("eight times as many pairs drawn in one step fit", "consistency", at_least=8.0),
        Claim("without the latent they fit by chance", "chance", at_most=1.25),
        Claim("the first token is within 0.15 of the even law", "marginal", at_most=0.15),
    ),
)
