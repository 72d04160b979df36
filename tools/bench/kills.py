"""`kill -9` at ten random moments: every resumed run ends with the bits of the uninterrupted one.

Runs of `images/digits` (a small U-Net on real digits, dropout of conditions, averages, a snapshot
of a power-function average) are started as commands, killed after a random time, and resumed until
ten kills have fallen; then they may end. Compared are all bytes of all tensors of the last
checkpoint and the rows of `metrics.jsonl` without their rates. One line for each seed.

    .venv/bin/python tools/bench/kills.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def command(out: Path, seed: int, steps: int) -> list[str]:
    """The command line of a training that can be resumed."""
    words = [f"seed={seed}", f"steps={steps}", "log=3", "save=5", "batch=16", "widths=0.1,"]
    line = [sys.executable, "-m", "sfumato_cli", "train", "images/digits", *words]
    return [*line, "--out", str(out), "--device", "cpu", "--resume"]


def run(line: list[str], seconds: float | None) -> bool:
    """Run a command, kill it after so many seconds of training; whether it was killed."""
    out = Path(line[line.index("--out") + 1])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    before = marks(out)
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        if seconds is not None:
            while process.poll() is None and marks(out) == before:
                time.sleep(0.01)  # imports are no interesting moment
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        error = process.stderr.read()
        code = process.wait()
    assert code in (0, -signal.SIGKILL), error
    return code != 0


def marks(out: Path) -> float:
    """When the rows were last written."""
    rows = out / "metrics.jsonl"
    return rows.stat().st_mtime_ns if rows.exists() else 0.0


def contents(out: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """All bytes of the last checkpoint and snapshot, and the rows without their rates."""
    last = sorted((out / "checkpoints").glob("step-*"))[-1]
    files = [*last.glob("*.safetensors"), *(out / "averages").rglob("*.safetensors")]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("items_per_s")
    return {str(file.relative_to(out)): file.read_bytes() for file in files}, rows


def main() -> None:
    """Print one row for each seed; exit 1 if a run differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, three kills")
    words = parser.parse_args()
    seeds, kills, steps = (1, 3, 60) if words.quick else (3, 10, 150)
    for seed in range(seeds):
        dice = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            whole, parts = Path(folder, "whole"), Path(folder, "parts")
            run(command(whole, seed, steps), None)
            fallen = sum(
                run(command(parts, seed, steps), dice.uniform(0, 1.5)) for _ in range(kills)
            )
            run(command(parts, seed, steps), None)
            one, other = contents(whole), contents(parts)
        same = one == other
        size = sum(map(len, one[0].values()))
        print(
            f"seed {seed}: {fallen} kills, {len(one[0])} files of {size} bytes "
            f"and {len(one[1])} rows {'identical' if same else 'DIFFER'}",
            flush=True,
        )
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
