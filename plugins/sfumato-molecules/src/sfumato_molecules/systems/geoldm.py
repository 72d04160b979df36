"""Geometric Latent Diffusion Models for 3D Molecule Generation.

Xu et al. 2023, arXiv:2305.01140. An equivariant autoencoder gives every atom a few numbers in place
of its class, and these are diffused with the places; the paper makes more stable molecules than by
diffusing one-hot classes. Here both share network, width, depth, steps and sampler, and differ in
what is diffused: latents (`molecules/latent`, whose decoder is trained beside the denoiser and says
classes when the places are known), or places and scaled one-hot classes. Bonds are told by the
distances for both; whole molecules and how far lengths are from real ones are compared too.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from sfumato import Batch, Model

STEPS, BATCH = 3000, 32
"""Optimiser steps of both, and molecules in each."""

SAMPLES, SAMPLED = 250, 100
WIDTH, DEPTH, LATENT, LEARNING = 64, 4, 4, 4e-3
CODED, NEAR = 0.99, 0.05
"""Share of classes, and angstrom, that an autoencoder should give back."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """Shares of stable atoms and whole molecules of both, and how well molecules are given back."""
    import torch

    from sfumato import random
    from sfumato_data import gather, subset
    from sfumato_molecules.domain import domain
    from sfumato_molecules.recipes import Latent
    from sfumato_molecules.systems.e3diffusion import measures
    from sfumato_molecules.systems.hot import Hot

    data: Any = domain.demo()
    if given.scale < 1:
        data = subset(data, range(0, len(data), max(1, len(data) // 200)))
    steps = max(4, round(STEPS * given.scale))
    fields: dict[str, Any] = {
        "seed": given.seed, "steps": steps, "batch": BATCH, "lr": LEARNING, "ema": 0.99,
        "warmup": 20, "width": WIDTH, "depth": DEPTH, "latent": LATENT,
        "sampling_steps": max(2, round(SAMPLED * given.scale)),
    }  # fmt: skip
    shares, lengths, costs, models = {}, {}, {}, {}
    real, other = (gather(data, range(first, len(data), 8)) for first in (0, 4))
    count = max(2, round(SAMPLES * given.scale))
    for name, recipe in (("latent", Latent(**fields)), ("hot", Hot(**fields))):
        began = time.monotonic()
        models[name], made = _made(name, recipe, data, count, given)
        shares[name] = measures(made.x, data)
        lengths[name] = _lengths(made, real, data.about)
        costs[name] = time.monotonic() - began
    x = gather(data, range(0, len(data), max(1, len(data) // 200))).x
    codec = models["latent"].codec
    assert codec is not None
    with torch.no_grad():
        back = codec.decode(codec.encode(x, random.derive(given.seed, "codec")))
    same = float((back["atoms"].data == x["atoms"].data).double().mean())
    gap = (back["positions"].data - x["positions"].data).square().sum(1).mean().sqrt()
    n, floor = x["atoms"].items, _lengths(other, real, data.about)
    return {
        **{
            what: Measured(
                shares["latent"][what], shares["hot"][what], None, count, costs["latent"]
            )
            for what in ("atoms", "whole")
        },
        "lengths": Measured(lengths["latent"], lengths["hot"], floor, count, costs["latent"]),
        "classes": Measured(same, 1.0, None, n, costs["latent"]),
        "places": Measured(float(gap), NEAR, 0.0, n, costs["latent"]),
    }


def _made(name: str, recipe: Any, data: Any, count: int, given: Trial) -> tuple[Model, Batch]:
    """The trained model, and samples of it."""
    from sfumato_train import averaged, draw
    from sfumato_train.runs import fresh

    training = fresh(given.seed, lambda: recipe.build(data))
    model = averaged(training, recipe, given.scratch / name)
    return model, draw(model, count, seed=given.seed)


def _lengths(made: Batch, real: Batch, about: Mapping[str, Any]) -> float:
    """W1 between the lengths of bonds, angstrom."""
    from sfumato_molecules.looking import Looking
    from sfumato_molecules.spatial import Geometry

    metric = Geometry(Looking(about), "bonds")
    return metric.between(metric.summary(made), metric.summary(real)).value


system = System(
    id="geoldm",
    title="Geometric Latent Diffusion Models for 3D Molecule Generation",
    source="Xu et al. 2023, arXiv:2305.01140",
    components=("molecules/latent", "equivariant"),
    recipe="molecules/latent",
    trial=trial,
    claims=(
        Claim("more atoms are stable than by one-hot classes", "atoms", at_least=1.02),
        Claim("and more molecules are whole", "whole", at_least=1.05),
        Claim("lengths of bonds are no further from real ones", "lengths", at_most=1.0),
        Claim("the autoencoder gives classes back", "classes", at_least=CODED),
        Claim("and places within 0.05 angstrom", "places", at_most=1.0),
    ),
)
