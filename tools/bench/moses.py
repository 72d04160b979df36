"""What valences, structural features and noise from the law of the data are worth on MOSES.

Two models of graphs of bonds (`molecules/moses`) of equal width and depth are trained for equally
many steps of the same molecules: as the recipe has it, and with `structural=false noise=uniform`.
Told for each seed is the share of samples that RDKit does not accept as whole molecules, of both,
and their ratio (<= 0.7 is wanted for the mean), with the shares that are unique and new.

With `--out` each model's numbers are kept in a JSON file of its own as soon as they are there, and
a second run with the same sizes goes on with those that are missing.

    sfumato data get moses
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/moses.py --out moses/
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from keeping import kept

from sfumato_data import fetch, gather, subset
from sfumato_molecules.domain import domain
from sfumato_molecules.metrics import metrics
from sfumato_molecules.recipes import Moses
from sfumato_train import averaged, draw
from sfumato_train.files import write_json
from sfumato_train.runs import fresh

LIMIT = 0.7
ARMS: Mapping[str, Mapping[str, Any]] = {
    "with": {}, "without": {"structural": False, "noise": "uniform"},
}  # fmt: skip


def measured(made: Any, chosen: Sequence[Any]) -> dict[str, float]:
    """Shares of samples: valid, connected, unique, new."""
    found = {}
    for metric in chosen:
        summary = metric.summary(made)
        score = metric.between(summary, summary)
        found |= {metric.name: score.value} | {k: float(v) for k, v in score.parts.items()}
    return found


def trained(
    asked: argparse.Namespace, seed: int, arm: str, train: Any, chosen: Sequence[Any]
) -> dict[str, Any]:
    """One arm at one seed: shares, and seconds of processor time."""
    recipe = Moses.model_validate(
        {
            "seed": seed, "steps": asked.steps, "batch": 32, "width": asked.width,
            "pair_width": 24, "depth": 4, "lr": asked.lr, "ema": 0.99,
            "sampling_steps": asked.sampling_steps, **ARMS[arm],
        }
    )  # fmt: skip
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        training = fresh(recipe.seed, lambda: recipe.build(train))
        made = draw(averaged(training, recipe, Path(place)), asked.samples, seed=recipe.seed)
    return {**measured(made, chosen), "seconds": time.process_time() - began}


def main() -> None:
    """Measure, print, and fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="SMILES; by default MOSES")
    parser.add_argument("--molecules", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=3e-3, help="of both, picked on seed 100")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--sampling-steps", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--out", type=Path, help="a folder for the numbers, to go on with")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    path = asked.data or fetch("moses")
    data = domain.read(path, dimensions=2, hydrogens="drop", most=asked.molecules)
    train = subset(data, range(len(data)))
    chosen = [m for m in metrics(train) if m.name in ("validity", "valid, unique and novel")]
    real = measured(gather(train, range(min(500, len(data)))), chosen)
    print(f"{len(data):,} molecules; real ones: {real}", flush=True)
    sizes = {k: v for k, v in vars(asked).items() if k not in ("out", "seeds", "first", "data")}
    sizes["data"] = str(asked.data or "moses")
    invalid: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(asked.first, asked.first + asked.seeds):
        for arm in ARMS:
            measure = partial(trained, asked, seed, arm, train, chosen)
            found = kept(asked.out, f"{arm}-{seed}", sizes, measure)
            invalid[arm].append(1 - found["validity"])
            print(f"seed {seed} {arm}: {found}", flush=True)
    ratio = statistics.mean(invalid["with"]) / max(statistics.mean(invalid["without"]), 1e-9)
    print(f"invalid: {invalid}, n = {asked.samples}; ratio {ratio:.2f} (wanted: at most {LIMIT})")
    if asked.out is not None:
        write_json(asked.out / "ratio.json", {"invalid": invalid, "ratio": ratio, "limit": LIMIT})
    if ratio > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
