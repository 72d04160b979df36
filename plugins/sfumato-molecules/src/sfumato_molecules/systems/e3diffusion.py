"""Equivariant Diffusion for Molecule Generation in 3D.

Hoogeboom et al. 2022, arXiv:2203.17003. Places of atoms are noised around their mean and denoised
by a network that turns with them. Here our recipe (`molecules/ccd3d`: lists of pairs in place of
padding, preconditioned places, classes and bonds drawn anew from their laws) is compared with the
public one (`edm`), written anew: equal width, depth, data, sampling steps and processor time.

Told is a shortfall: how much smaller the share of stable atoms is than that of real molecules.
Atoms are stable if they have a number of bonds that their element takes with its charge; for both
recipes bonds are told by the distances, whatever a model says of bonds. After so short a training
hardly any molecule is stable as a whole, so that novelty is a gate that is easily passed.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from sfumato import Dataset
    from sfumato_molecules.molecule import Molecule

SECONDS = 12.0
"""Of one processor's time that each recipe is trained for."""

SAMPLES, SAMPLED, BATCH = 32, 100, 32
WIDTH, DEPTH, LEARNING = 64, 4, 4e-3


def trial(given: Trial) -> Mapping[str, Measured]:
    """Shortfalls of stable atoms of ours and of the public recipe, and novelty of ours."""
    from sfumato_data import keys_of, subset
    from sfumato_molecules import chem
    from sfumato_molecules.domain import domain
    from sfumato_molecules.recipes import CCD3D
    from sfumato_molecules.systems.edm import EDM

    data: Any = domain.demo()
    count = max(2, round(SAMPLES * given.scale))
    if given.scale < 1:
        data = subset(data, range(0, len(data), max(1, len(data) // 200)))
    real = _share(_molecules(data, range(0, len(data), max(1, len(data) // 500))))
    found, costs = {}, {}
    for name, recipe in (("ours", CCD3D), ("public", EDM)):
        began = time.monotonic()
        found[name] = _made(recipe, data, count, given)
        costs[name] = time.monotonic() - began
    ours, public = _share(found["ours"]), _share(found["public"])
    seen = set(keys_of(data) or ())
    new = sum(chem.key(molecule) not in seen for molecule in found["ours"]) / count
    short = (real - ours, real - public)
    return {
        "atoms": Measured(*short, 0.0, count, costs["ours"]),
        "novel": Measured(new, 1.0, None, count, costs["ours"]),
    }


def _molecules(data: Dataset, index: Sequence[int]) -> list[Molecule]:
    """Real molecules with the bonds that their distances tell."""
    from sfumato import Fields
    from sfumato_data import gather
    from sfumato_molecules.state import molecules_of

    x = gather(data, index).x
    return molecules_of(Fields(positions=x["positions"], atoms=x["atoms"]), data.about)


def _share(molecules: Sequence[Molecule]) -> float:
    """Share of atoms that are stable."""
    from sfumato_molecules.valences import stable

    each = [stable(molecule, charges=True) for molecule in molecules]
    return sum(int(one.sum()) for one in each) / sum(map(len, each))


def _made(recipe: Any, data: Dataset, count: int, given: Trial) -> Sequence[Molecule]:
    """Molecules of a recipe trained for its time, from averaged weights, bonds by distances."""
    from sfumato import Fields
    from sfumato_molecules.state import molecules_of
    from sfumato_train import draw
    from sfumato_train.ema import parts
    from sfumato_train.runs import fresh

    settings = recipe(
        seed=given.seed, batch=BATCH, lr=LEARNING, width=WIDTH, depth=DEPTH,
        sampling_steps=max(2, round(SAMPLED * given.scale)),
    )  # fmt: skip
    training = fresh(given.seed, lambda: settings.build(data))
    model = _trained(training, settings, SECONDS * given.scale)
    parts(model).eval()
    x = draw(model, count, seed=given.seed, batch=count).x
    return molecules_of(Fields(positions=x["positions"], atoms=x["atoms"]), data.about)


def _trained(training: Any, settings: Any, seconds: float) -> Any:
    """The model after so much processor time, its weights averaged over about twenty steps."""
    import torch

    from sfumato import random
    from sfumato_data import Batches

    objective, batches = training.objective, Batches(training.data, BATCH, settings.seed)
    weights = [p for p in objective.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=0.0, fused=True)
    mean = [p.detach().clone() for p in weights]
    began, step = time.process_time(), 0
    while (gone := (time.process_time() - began) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * min(1, (step + 1) / 20, 5 * (1 - gone) + 0.01)
        optimiser.zero_grad()
        loss = objective.loss("denoiser", batches(step), random.derive(settings.seed, "loss", step))
        loss.each.mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, settings.clip)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for average, weight in zip(mean, weights, strict=True):
                average.lerp_(weight, max(0.05, 1 / step))
    with torch.no_grad():
        for average, weight in zip(mean, weights, strict=True):
            weight.copy_(average)
    return training.model


system = System(
    id="e3diffusion",
    title="Equivariant Diffusion for Molecule Generation in 3D",
    source="Hoogeboom et al. 2022, arXiv:2203.17003",
    components=("molecules/ccd3d", "molecules/sdf", "equivariant"),
    recipe="molecules/ccd3d",
    trial=trial,
    claims=(
        Claim(
            "fewer atoms fall short of stability than by the public recipe", "atoms", at_most=0.7
        ),
        Claim("samples are no copies of the training molecules", "novel", at_least=0.9),
    ),
)
