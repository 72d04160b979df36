"""What symmetry is worth to trajectories of a molecule, and to whole trajectories of charges.

`aspirin`: 500 frames, 5 fs apart, of one run at 500 K by GFN2-xTB (needs the extra `xtb`). Of each
window 10 frames are given and 20 to come; trained on are those of the first 350 frames, and of
those of the last 150 five forecasts are drawn each, of which the closest counts. Wanted is an FDE
of at most 0.85 of that of a transformer of the same width and depth without symmetry.

`whole`: 500 systems of five charges are trained on, of which no frames are given. Told are the
distances of 200 made ones from 200 held-out ones with those between real ones (the floor): W1 of
speeds and of distances, sliced Wasserstein of how systems move, and how often a classifier tells
them apart on what it has not seen. Wanted is a sliced distance of at most 0.8 of that of the
transformer.

With `--out` the numbers of each model and seed are kept in a JSON file, and a second run goes on
with those that are missing. A seed of `aspirin` takes about 2.5 minutes of one core.

    .venv/bin/pip install "tblite>=0.4"
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/trajectories.py aspirin --out trajectories/
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/trajectories.py whole --out trajectories/
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from keeping import kept

from sfumato import Batch, Model
from sfumato_data import gather, subset
from sfumato_eval import C2ST, measure_all
from sfumato_molecules.systems.plain import Unsymmetric
from sfumato_molecules.trajectories.data import (
    Track,
    Tracks,
    constant_velocity,
    tracks_of,
    windows,
)
from sfumato_molecules.trajectories.dynamics import begun, dynamics
from sfumato_molecules.trajectories.forecasting import drawn
from sfumato_molecules.trajectories.metrics import closest_systems, metrics
from sfumato_molecules.trajectories.nbody import simulate
from sfumato_molecules.trajectories.recipes import Trajectories
from sfumato_train import averaged, draw
from sfumato_train.runs import fresh

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
GIVEN, FUTURE = 10, 20
LIMITS = {"aspirin": ("fde", 0.85), "whole": ("sliced-wasserstein", 0.8)}
ARMS: Mapping[str, type[Trajectories]] = {"turning": Trajectories, "plain": Unsymmetric}


def trained(recipe: Trajectories, data: Any) -> Model:
    """The model of a recipe, from averaged weights."""
    with tempfile.TemporaryDirectory() as place:
        training = fresh(recipe.seed, lambda: recipe.build(data))
        return averaged(training, recipe, Path(place))


def recipe_of(arm: str, seed: int, steps: int, **fields: Any) -> Trajectories:
    """The recipe of an arm; what goes without symmetry goes from the last frame."""
    own = {"reference": "last"} if arm == "plain" else {}
    return ARMS[arm].model_validate(
        {"seed": seed, "steps": steps, "lr": 3e-3, "ema": 0.99, "warmup": 20, **own, **fields}
    )


Keep = Callable[[str, Callable[[], dict[str, float]]], dict[str, float]]
"""Numbers by the name of what they are of, which are measured unless they are kept."""


def aspirin(seed: int, scale: float, keep: Keep) -> dict[str, dict[str, float]]:
    """ADE and FDE in angstrom, of both and of constant velocity."""

    @cache
    def windowed() -> tuple[Tracks, Batch]:
        """What is trained on, and what is to be continued."""
        frames = max(2 * (GIVEN + FUTURE) + 2, round(500 * scale))
        track, features = dynamics(begun(ASPIRIN, seed), frames, every=10, seed=seed)
        cut = min(round(0.7 * frames), frames - GIVEN - FUTURE)
        early, late = (
            Track(places, track.kinds, track.name)
            for places in (track.places[:, :cut], track.places[:, cut:])
        )
        options: dict[str, Any] = {"given": GIVEN, "future": FUTURE, "features": features}
        data = tracks_of(list(windows(early, GIVEN + FUTURE, 2)), **options)
        held = tracks_of(list(windows(late, GIVEN + FUTURE, 10)), **options, like=data.about)
        return data, held.batch(range(len(held)))

    def steady() -> dict[str, float]:
        asked = windowed()[1]
        return _means([constant_velocity(asked.condition["source"]["past"], FUTURE)], asked.x)

    def forecast(arm: str) -> dict[str, float]:
        data, asked = windowed()
        recipe = recipe_of(arm, seed, max(2, round(120 * scale)), batch=8, width=32, depth=3)
        return _means(list(drawn(trained(recipe, data), asked, 5, seed, batch=8)), asked.x)

    return {"steady": keep("steady", steady)} | {
        arm: keep(arm, partial(forecast, arm)) for arm in ARMS
    }


def _means(made: list[torch.Tensor], true: torch.Tensor) -> dict[str, float]:
    """ADE and FDE of the closest of several draws."""
    ade, fde = closest_systems(made, true)
    return {"ade": float(ade.mean()), "fde": float(fde.mean())}


def whole(seed: int, scale: float, keep: Keep) -> dict[str, dict[str, float]]:
    """Distances of made systems from real ones, of both and of real ones."""
    trains, count = max(16, round(500 * scale)), max(20, round(200 * scale))
    tracks = simulate("charged", trains + 2 * count, seed)
    data = tracks_of(tracks, given=0, future=GIVEN + FUTURE)
    train = subset(data, range(trains))
    real, other = (
        gather(data, range(trains + k * count, trains + (k + 1) * count)) for k in range(2)
    )
    chosen = metrics(train)
    chosen = [*chosen, C2ST(chosen[-1].features)]

    def made(arm: str) -> dict[str, float]:
        fields: dict[str, Any] = {"given": 0, "future": GIVEN + FUTURE, "batch": 32}
        recipe = recipe_of(arm, seed, max(2, round(300 * scale)), **fields)
        got = draw(trained(recipe, train), count, condition=other.condition, seed=seed)
        scores = measure_all(chosen, got, real, other)
        floors = {f"{name} of real ones": score.floor or 0.0 for name, score in scores.items()}
        return {name: score.value for name, score in scores.items()} | floors

    return {arm: keep(arm, partial(made, arm)) for arm in ARMS}


PARTS: Mapping[str, Callable[[int, float, Keep], dict[str, dict[str, float]]]] = {
    "aspirin": aspirin, "whole": whole,
}  # fmt: skip


def timed(measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
    """The numbers, and seconds of processor time."""
    began = time.process_time()
    return {**measure(), "seconds": time.process_time() - began}


def main() -> None:
    """Measure, print, and fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=[*PARTS])
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of data and steps")
    parser.add_argument("--out", type=Path, help="a folder for the numbers, to go on with")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    key, limit = LIMITS[asked.what]
    ratios = []
    for seed in range(asked.first, asked.first + asked.seeds):

        def keep(name: str, measure: Callable[[], dict[str, float]], seed: int = seed) -> Any:
            sizes = {"scale": asked.scale}
            name = f"{asked.what}-{seed}-{name}"
            return kept(asked.out, name, sizes, partial(timed, measure))

        found = PARTS[asked.what](seed, asked.scale, keep)
        ratios.append(found["turning"][key] / found["plain"][key])
        print(f"seed {seed}: {found}", flush=True)
    median = statistics.median(ratios)
    print(f"{asked.what}: {key} ratios {ratios}, median {median:.3f} (wanted: at most {limit})")
    if median > limit:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
