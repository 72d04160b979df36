"""What valences, structural features and noise from the law of the data are worth on MOSES.

Two models of graphs of bonds (`molecules/moses`) of equal width and depth are trained for equally
many steps of the same molecules: as the recipe has it, and with `structural=false noise=uniform`.
Told for each seed is the share of samples that RDKit does not accept as whole molecules, of both,
and their ratio (<= 0.7 is wanted for the mean), with the shares that are unique and new.

    sfumato data get moses
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/moses.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from sfumato_data import fetch, gather, subset
from sfumato_molecules.domain import domain
from sfumato_molecules.metrics import metrics
from sfumato_molecules.recipes import Moses
from sfumato_train import averaged, draw
from sfumato_train.runs import fresh

LIMIT = 0.7
WITHOUT = {"structural": False, "noise": "uniform"}


def measured(made: Any, train: Any) -> dict[str, float]:
    """Shares of samples: valid, and valid, unique and new."""
    found = {}
    for metric in metrics(train):
        if metric.name in ("validity", "valid, unique and novel"):
            summary = metric.summary(made)
            found[metric.name] = metric.between(summary, summary).value
    return found


def sampled(recipe: Moses, train: Any, count: int, folder: Path) -> Any:
    """Samples of a recipe, trained."""
    training = fresh(recipe.seed, lambda: recipe.build(train))
    return draw(averaged(training, recipe, folder), count, seed=recipe.seed)


def main() -> None:
    """Measure, print, and fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="SMILES; by default MOSES")
    parser.add_argument("--molecules", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    path = asked.data or fetch("moses")
    data = domain.read(path, dimensions=2, hydrogens="drop", most=asked.molecules)
    train = subset(data, range(len(data)))
    real = measured(gather(train, range(min(500, len(data)))), train)
    print(f"{len(data):,} molecules; real ones: {real}")
    invalid: dict[str, list[float]] = {"with": [], "without": []}
    for seed in range(asked.seeds):
        for name, off in (("with", {}), ("without", WITHOUT)):
            recipe = Moses.model_validate(
                {
                    "seed": seed,
                    "steps": asked.steps,
                    "batch": 32,
                    "width": asked.width,
                    "pair_width": 24,
                    "depth": 4,
                    "lr": 1e-3,
                    "ema": 0.99,
                    **off,
                }  # fmt: skip
            )
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as place:
                made = sampled(recipe, train, asked.samples, Path(place))
            found = measured(made, train)
            invalid[name].append(1 - found["validity"])
            print(f"seed {seed} {name}: {found}, {time.monotonic() - began:.0f} s", flush=True)
    ratio = statistics.mean(invalid["with"]) / max(statistics.mean(invalid["without"]), 1e-9)
    print(f"invalid: {invalid}, n = {asked.samples}; ratio {ratio:.2f} (wanted: at most {LIMIT})")
    if ratio > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
