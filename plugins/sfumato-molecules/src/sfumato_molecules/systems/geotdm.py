"""Geometric Trajectory Diffusion Models.

Han et al. 2024, arXiv:2410.13027: trajectories of points are forecast best by diffusion whose
network turns with them, around a prior that is learned with it. Here 1,000 simulated systems of
five charges are trained on, 10 frames given and 20 to come; of each of the systems held out five
forecasts are drawn and the closest counts, as in the paper. Compared are a transformer of the same
size without symmetry (`plain`), the same model around the middle of the last frame, and constant
velocity.

Of the pedestrians of ETH and UCY one place is left out by each seed in turn; 8 frames are given and
12 to come, and the closest of twenty draws counts for each person, as is usual with them.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from sfumato import Dataset, Model

    from ..trajectories.recipes import Trajectories

TRAINED, HELD, DRAWS = 1000, 100, 5
STEPS, BATCH, RATE = 500, 32, 3e-3
WIDTH, DEPTH, STEPPED = 32, 4, 20

PLACES = ("eth", "hotel", "univ", "zara1", "zara2")
WALKED, TRIED, WALKS, WALK_STEPPED = 300, 64, 20, 10
"""Of pedestrians: optimiser steps, systems to measure with, draws of each, and steps of a draw."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """ADE and FDE of forecasts, the closest of several."""
    return {**_charges(given), **_pedestrians(given)}


def _charges(given: Trial) -> Mapping[str, Measured]:
    """Of charged particles, the closest of five."""
    from sfumato_molecules.systems.plain import Unsymmetric
    from sfumato_molecules.trajectories.data import constant_velocity, tracks_of
    from sfumato_molecules.trajectories.forecasting import drawn
    from sfumato_molecules.trajectories.metrics import closest_systems, displacements
    from sfumato_molecules.trajectories.nbody import simulate
    from sfumato_molecules.trajectories.recipes import Trajectories

    trained, held = (max(8, round(n * given.scale)) for n in (TRAINED, HELD))
    tracks = simulate("charged", trained + held, given.seed)
    data = tracks_of(tracks[:trained], given=10, future=20)
    other = tracks_of(tracks[trained:], given=10, future=20, like=data.about)
    true = other.batch(range(held))
    steady = constant_velocity(true.condition["source"]["past"], true.x.shape[2])
    plain = [float(value.mean()) for value in displacements(steady, true.x)]

    fields: dict[str, Any] = {
        "seed": given.seed, "steps": max(2, round(STEPS * given.scale)), "batch": BATCH,
        "lr": RATE, "ema": 0.99, "warmup": 20, "width": WIDTH, "depth": DEPTH,
        "sampling_steps": max(2, round(STEPPED * given.scale)),
    }  # fmt: skip
    arms = {
        "learned": Trajectories(**fields),
        "middle": Trajectories(**fields, reference="middle"),
        "unsymmetric": Unsymmetric(**fields, reference="last"),
    }
    ade, fde, costs = {}, {}, {}
    for name, recipe in arms.items():
        began = time.monotonic()
        model = _model(name, recipe, data, given)
        found = closest_systems(list(drawn(model, true, DRAWS, given.seed)), true.x)
        ade[name], fde[name] = (float(errors.mean()) for errors in found)
        costs[name] = time.monotonic() - began
    cost = costs["learned"]
    return {
        "symmetry": Measured(fde["learned"], fde["unsymmetric"], None, held, cost),
        "reference": Measured(ade["learned"], ade["middle"], None, held, cost),
        "velocity": Measured(ade["learned"], plain[0], None, held, cost),
    }


def _pedestrians(given: Trial) -> Mapping[str, Measured]:
    """Of people in a place that was not trained on, the closest of twenty for each of them."""
    import torch

    from sfumato import random
    from sfumato_data import fetch, groups_of, split
    from sfumato_molecules.systems.plain import Unsymmetric
    from sfumato_molecules.trajectories import files
    from sfumato_molecules.trajectories.data import constant_velocity
    from sfumato_molecules.trajectories.forecasting import drawn
    from sfumato_molecules.trajectories.metrics import closest
    from sfumato_molecules.trajectories.recipes import Pedestrians, Trajectories

    place, folder = PLACES[given.seed % len(PLACES)], fetch("pedestrians")
    asked = dict(Pedestrians.model_validate({"left_out": place}).reading())
    fields: dict[str, Any] = {
        "seed": given.seed, "steps": max(2, round(WALKED * given.scale)), "batch": BATCH,
        "lr": RATE, "ema": 0.99, "warmup": 20, "width": WIDTH, "depth": DEPTH,
        "sampling_steps": max(2, round(WALK_STEPPED * given.scale)),
    }  # fmt: skip
    data, _ = split(files.read(folder, **asked), None, given.seed)
    tests = files.read(folder / place / "test", like=data.about, **asked)
    order = random.permutation(len(tests), random.derive(given.seed, "walks")).tolist()
    tried = order[: max(4, round(TRIED * given.scale))]
    groups = groups_of(tests) or [0] * len(tests)
    systems = [
        tests.batch([i for i in tried if groups[i] == k])
        for k in sorted({groups[i] for i in tried})
    ]
    arms = {"turning": Trajectories(**fields), "plain": Unsymmetric(**fields, reference="last")}
    ade, fde, costs = {}, {}, {}
    for name, recipe in arms.items():
        began = time.monotonic()
        model = _model(f"walks {name}", recipe, data, given)
        pairs = [
            closest(list(drawn(model, one, WALKS, given.seed, first=k * WALKS * TRIED)), one.x)
            for k, one in enumerate(systems)
        ]
        ade[name], fde[name] = (
            float(torch.cat([pair[i].flatten() for pair in pairs]).mean()) for i in range(2)
        )
        costs[name] = time.monotonic() - began
    steady = [
        closest([constant_velocity(one.condition["source"]["past"], one.x.shape[2])], one.x)[0]
        for one in systems
    ]
    plain = torch.cat([each.flatten() for each in steady])
    cost, n = costs["turning"], len(plain)
    return {
        "pedestrians": Measured(fde["turning"], fde["plain"], None, n, cost),
        "walking": Measured(ade["turning"], float(plain.mean()), None, n, cost),
    }


def _model(name: str, recipe: Trajectories, data: Dataset, given: Trial) -> Model:
    from sfumato_train import averaged
    from sfumato_train.runs import fresh

    training = fresh(given.seed, lambda: recipe.build(data))
    return averaged(training, recipe, given.scratch / name)


system = System(
    id="geotdm",
    title="Geometric Trajectory Diffusion Models",
    source="Han et al. 2024, arXiv:2410.13027",
    components=("molecules/trajectories", "molecules/pedestrians"),
    recipe="molecules/trajectories",
    trial=trial,
    claims=(
        Claim("a network that turns with the points ends closer", "symmetry", at_most=0.85),
        Claim("a learned prior is closer than the middle of the points", "reference", at_most=0.95),
        Claim("forecasts beat constant velocity", "velocity", at_most=0.7),
        Claim("people in a place that was left out end closer too", "pedestrians", at_most=0.85),
        Claim("and the closest walk beats constant velocity", "walking", at_most=0.7),
    ),
)
