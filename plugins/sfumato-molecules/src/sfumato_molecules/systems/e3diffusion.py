"""Equivariant Diffusion for Molecule Generation in 3D.

Hoogeboom et al. 2022, arXiv:2203.17003. Places of atoms are noised around their mean and denoised
by a network that turns with them. Here our recipe (`molecules/ccd3d`: lists of pairs in place of
padding, preconditioned places, classes and bonds drawn anew from their laws) is compared with the
public one (`edm`), written anew: equal width, depth, data, sampling steps and processor time, each
with the best of the learning rates that were tried for it.

Told is a shortfall: how much smaller the share of stable atoms is than that of real molecules.
Atoms are stable if they have a number of bonds that their element takes with its charge; for both
recipes bonds are told by the distances, whatever a model says of bonds. `tools/bench/stability.py`
is the same at greater length and for larger molecules, with curves.
"""

from __future__ import annotations

__all__ = ["FIELDS", "MINUTES", "measures", "recipes", "system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from sfumato import Dataset, Fields

MINUTES = 5.0
"""Of one processor's time that each recipe is trained for."""

SAMPLES = 250
FIELDS: dict[str, Any] = {
    "batch": 32, "width": 64, "depth": 4, "sampling_steps": 100, "warmup": 50, "ema": 0.995,
}  # fmt: skip
LEARNING = {"ours": 4e-3, "public": 8e-3}


def recipes() -> dict[str, Any]:
    """The two recipes by name."""
    from sfumato_molecules.recipes import CCD3D
    from sfumato_molecules.systems.edm import EDM

    return {"ours": CCD3D, "public": EDM}


def trial(given: Trial) -> Mapping[str, Measured]:
    """Shortfalls of stable atoms of ours and of the public recipe, and novelty of ours."""
    from functools import partial

    from sfumato_data import gather, subset
    from sfumato_molecules.domain import domain
    from sfumato_train import averaged, draw
    from sfumato_train.pacing import seconds_a_step
    from sfumato_train.runs import fresh

    data: Any = domain.demo()
    if given.scale < 1:
        data = subset(data, range(0, len(data), max(1, len(data) // 200)))
    count = max(2, round(SAMPLES * given.scale))
    fields = {**FIELDS, "sampling_steps": max(2, round(FIELDS["sampling_steps"] * given.scale))}
    made = {
        name: kind(seed=given.seed, lr=LEARNING[name], **fields) for name, kind in recipes().items()
    }
    cost = seconds_a_step(
        {name: partial(recipe.build, data) for name, recipe in made.items()}, fields["batch"]
    )
    found, costs = {}, {}
    for name, plain in made.items():
        began = time.monotonic()
        steps = max(2, round(60 * MINUTES * given.scale / cost[name]))
        recipe = plain.model_copy(update={"steps": steps, "save": steps, "log": steps})
        training = fresh(given.seed, partial(recipe.build, data))
        model = averaged(training, recipe, given.scratch / name)
        found[name] = measures(draw(model, count, seed=given.seed).x, data)
        costs[name] = time.monotonic() - began
    real = measures(gather(data, range(0, len(data), max(1, len(data) // 500))).x, data)["atoms"]
    short = [real - found[name]["atoms"] for name in ("ours", "public")]
    return {
        "atoms": Measured(short[0], short[1], 0.0, count, costs["ours"]),
        "novel": Measured(found["ours"]["novel"], 1.0, None, count, costs["ours"]),
    }


def measures(x: Fields, data: Dataset) -> dict[str, float]:
    """Shares of molecules whose bonds are told by their distances.

    Args:
        x: their `positions` and `atoms`; other fields are not looked at.
        data: what they are like, whose molecules are no news.

    Returns:
        `atoms` that are stable, `molecules` all of whose atoms are, those that are `whole`: one
        piece that RDKit accepts with the hydrogens that it has; and of the latter, or of all if
        there are none, those that are `novel`.
    """
    from sfumato import Fields
    from sfumato_data import keys_of
    from sfumato_molecules import chem
    from sfumato_molecules.looking import Looked
    from sfumato_molecules.state import molecules_of
    from sfumato_molecules.valences import stable

    made = molecules_of(Fields(positions=x["positions"], atoms=x["atoms"]), data.about)
    each = [stable(molecule, charges=True) for molecule in made]
    whole = [molecule for molecule in made if Looked(molecule, explicit=True).good is not None]
    seen = set(keys_of(data) or ())
    judged = whole or made
    return {
        "atoms": sum(int(one.sum()) for one in each) / sum(map(len, each)),
        "molecules": sum(bool(one.all()) for one in each) / len(each),
        "whole": len(whole) / len(made),
        "novel": sum(chem.key(molecule) not in seen for molecule in judged) / len(judged),
    }


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
        Claim("whole molecules are no copies of those of training", "novel", at_least=0.5),
    ),
)
