"""Sample quality at equal CPU time against `diffusers`, on digits and Fashion-MNIST, 28 x 28.

Both sides train for the same CPU seconds with one thread, side by side in two processes, then draw
n class-conditional samples in 20 network calls; `quality_arms.py` says how. Networks have equal
parameters within 10 %. The learning rate of `diffusers` is the best of three on the tuning seed,
which splits the training images; the options of ours were looked at on that seed only. Seeds 0 to
2 are then run once, with test images that the tuning has not seen.

The distance is Frechet's, in features of a classifier that is trained on the training images and
serves both; sliced Wasserstein in pixels stands beside. Samples are compared with one half of the
held-out images, and the floor is the other half against it, at the same n: 1,000, drawn for
Fashion-MNIST, all of the digits that were held out, halved. The claim, for each data set, in the
median over the seeds: ours above the floor at most 0.7 of theirs, or ours at most 1.2 floors.

    .venv/bin/python tools/bench/quality.py --tune      # theirs at three learning rates
    .venv/bin/python tools/bench/quality.py             # seeds 0 to 2, and the table

Rows go to `runs/quality/rows.jsonl`; what is there is not run again. On two idle cores the first
takes about 20 minutes, the second an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality_arms import ARMS, TUNING, halves, part

from sfumato_data import Tensors
from sfumato_eval import Metric, measure_all
from sfumato_images.metrics import metrics

RATES = (3e-4, 1e-3, 3e-3)
SIZES = {"digits": 1000, "fashion": 1000}
TUNING_SIZES = {"digits": 500, "fashion": 1000}
MEASURES = ("frechet", "sliced-wasserstein")

Row = dict[str, Any]


def jobs(words: argparse.Namespace, rows: Sequence[Row]) -> list[list[Row]]:
    """What is to be run: each inner list side by side."""
    if words.tune:
        return [
            [_job(words, data, TUNING, "theirs", {"lr": rate}) for data in words.data]
            for rate in words.rates
        ]
    best = {data: best_rate(rows, data, words.minutes) for data in words.data}
    return [
        [
            _job(words, data, seed, "ours", {}),
            _job(words, data, seed, "theirs", {"lr": best[data]}),
        ]
        for data in words.data
        for seed in words.seeds
    ]


def _job(
    words: argparse.Namespace, data: str, seed: int, arm: str, options: Mapping[str, Any]
) -> Row:
    n = (TUNING_SIZES if seed == TUNING else SIZES)[data]
    full = {**ARMS[arm][1], **options}
    return {
        "data": data, "seed": seed, "arm": arm, "minutes": words.minutes, "n": n, "options": full
    }  # fmt: skip


def best_rate(rows: Sequence[Row], data: str, minutes: float) -> float:
    """The learning rate at which theirs came nearest on the tuning seed."""
    found = {
        row["options"]["lr"]: row["frechet"]
        for row in rows
        if (row["data"], row["seed"], row["arm"]) == (data, TUNING, "theirs")
        and row["minutes"] == minutes
    }
    missing = set(RATES) - found.keys()
    if missing:
        sys.exit(f"{data}: theirs was not tuned at {sorted(missing)}; run with --tune first")
    return min(found, key=found.__getitem__)


def run(together: Sequence[Row], folder: Path) -> list[Row]:
    """Run jobs side by side, one thread each, and measure what they drew."""
    script = Path(__file__).with_name("quality_arms.py")
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    started = []
    for job in together:
        out = folder / f"{job['data']}-{job['seed']}-{job['arm']}.json"
        command = [
            sys.executable, str(script), job["arm"], job["data"], "--seed", str(job["seed"]),
            "--n", str(job["n"]), "--budget", str(60 * job["minutes"]),
            "--options", json.dumps(job["options"]), "--out", str(out),
        ]  # fmt: skip
        started.append((job, out, subprocess.Popen(command, env={**os.environ, **threads})))
    if any([process.wait() for *_, process in started]):
        sys.exit("a side failed; its error stands above")
    return [
        {**job, **json.loads(out.read_text()), **scores(job, out.with_suffix(".npy"))}
        for job, out, _ in started
    ]


def scores(job: Row, samples: Path) -> Row:
    """Distances of samples, and their floors."""
    tuning = job["seed"] == TUNING
    real, other = halves(part(job["data"], tuning=tuning).held, job["seed"], job["n"])
    x = torch.from_numpy(np.load(samples))
    drawn = Tensors(x, other.condition, other.about)
    found = measure_all(
        _metrics(job["data"], tuning), drawn, real, other, n=job["n"], floor="two held-out halves"
    )
    row: Row = {}
    for name, score in found.items():
        row |= {name: score.value, f"{name}-floor": score.floor}
    return row


@cache
def _metrics(data: str, tuning: bool) -> Sequence[Metric[Any]]:
    found = metrics(part(data, tuning=tuning).train)
    return [one for one in found if one.name in MEASURES]


def table(rows: Sequence[Row], data: str, minutes: float) -> str:
    """The pairs of one data set, and the median of each ratio."""
    here = [r for r in rows if r["data"] == data and r["minutes"] == minutes]
    pairs = {
        seed: {r["arm"]: r for r in here if r["seed"] == seed}
        for seed in sorted({r["seed"] for r in here} - {TUNING})
    }
    lines = []
    for name in MEASURES:
        above, floors = [], []
        for seed, pair in pairs.items():
            if len(pair) < len(ARMS):
                continue
            a, b = pair["ours"], pair["theirs"]
            floor = a[f"{name}-floor"]
            above.append((a[name] - floor) / (b[name] - floor))
            floors.append(a[name] / floor)
            lines.append(
                f"{data} seed {seed} n={a['n']} {name}: ours {a[name]:.4g}, theirs {b[name]:.4g}, "
                f"floor {floor:.4g}; above the floor {above[-1]:.3f} of theirs; "
                f"{floors[-1]:.2f} floors | lr of theirs {b['options']['lr']:g}"
            )
        if above:
            lines.append(
                f"{data} {name}, median of {len(above)}: {statistics.median(above):.3f} of theirs "
                f"above the floor (at most 0.7), {statistics.median(floors):.2f} floors (or 1.2)"
            )
    for pair in pairs.values():
        for arm, r in pair.items():
            lines.append(
                f"{data} seed {r['seed']} {arm}: {r['parameters']} parameters, {r['steps']} steps, "
                f"{r['images']} images, {r['train_cpu_s']:.0f} CPU s of training, "
                f"{r['sample_cpu_s']:.0f} of sampling"
            )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=3.0, help="CPU minutes of training")
    parser.add_argument("--tune", action="store_true", help="theirs, on the tuning seed")
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES))
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    file = words.out / "rows.jsonl"
    rows: list[Row] = (
        [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    )
    for together in jobs(words, rows):
        missing = [j for j in together if not any(j.items() <= row.items() for row in rows)]
        found = run(missing, words.out)
        rows += found
        with file.open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in found)
        for row in found:
            print(json.dumps(row), flush=True)
    if not words.tune:
        for data in words.data:
            print(table(rows, data, words.minutes))


if __name__ == "__main__":
    main()
