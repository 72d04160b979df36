"""Training throughput of two processes over one, each with one thread.

Real runs of `images/digits` through the command line: one process whose batch is cut in two parts,
and two processes under torchrun that share the parts, in copies of the weights (DDP). Compared are
items/s of `metrics.jsonl` after the first rows; one line for each seed. Both runs must tell the
same loss to 0.1 %. Needs a machine with two free cores.

    .venv/bin/python tools/bench/processes.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 3  # rows at the start, in which memory is found and kernels are chosen


def train(out: Path, processes: int, seed: int, steps: int, batch: int) -> tuple[float, float]:
    """(median items/s, last loss) of a run."""
    words = [f"seed={seed}", f"steps={steps}", "log=5", f"save={steps}", f"batch={batch}"]
    words += ["accumulation=2"]
    launch = [sys.executable, "-m"]
    if processes > 1:
        launch += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        launch += ["-m"]
    command = [*launch, "sfumato_cli", "train", "images/digits", *words, "--out", str(out)]
    subprocess.run(
        [*command, "--device", "cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rate = statistics.median(row["items_per_s"] for row in rows[SKIPPED:])
    return rate, rows[-1]["loss"]


def main() -> None:
    """Print one row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps")
    words = parser.parse_args()
    steps, seeds = (30, 1) if words.quick else (80, 3)
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            one, loss = train(Path(folder, "one"), 1, seed, steps, 128)
            two, other = train(Path(folder, "two"), 2, seed, steps, 128)
        gap = abs(other - loss) / loss
        print(
            f"seed {seed}: one process {one:.0f} items/s, two {two:.0f}, ratio {two / one:.2f}; "
            f"last loss {loss:.5f} and {other:.5f}, {gap:.1e} apart",
            flush=True,
        )
        assert gap < 1e-3, "the two trainings are not the same"


if __name__ == "__main__":
    main()
