"""Sampling jobs at scale: memory for 10,000 against 100,000 samples, and 1 worker against 2.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/sampling_scale.py [--quick]

A small convolutional network (untrained: its speed is all that counts) draws 8 x 8 images of digits
in 5 steps, written as PNG files in shards of 1,000 and read back shard by shard to be measured
(Frechet distance of the pixels, against the demo data). Each job and each measurement is a process
of its own, whose peak memory is what Linux counted (VmHWM); "over imports" takes off the memory of
a process that draws and measures nothing. Images/s of the workers are counted over the last two
thirds of the shards, when all have started. 3 rounds, taking turns; medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARD = 1000
PLUGIN = """
from sfumato import hook

@hook
def sfumato_register(add):
    add("recipe", "bench/tiny", "bench_tiny:Tiny")
"""
RECIPE = """
from typing import ClassVar

import torch
from torch import nn

from sfumato import Model, Preconditioned
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.solvers import Euler
from sfumato_train import Recipe

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.SiLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def encode(self, label):
        return {}  # of any class

    def forward(self, x, clock):
        return self.body(torch.cat([x, clock[:, None, None, None].expand_as(x)], 1))

class Tiny(Recipe):
    domain: ClassVar[str] = "images"

    def model(self, about):
        process, shape = linear(), (about["channels"], *about["size"])
        return Model(
            process, Preconditioned(Net(), process, "flow"), Euler(), uniform, 5,
            lambda n, generator: torch.zeros(n, *shape),
        )
"""


def install(folder: Path) -> None:
    """Make `folder` look like one that a plugin with the tiny recipe is installed in."""
    info = folder / "bench_tiny-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-tiny\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[sfumato]\nbench = bench_tiny_plugin\n")
    (folder / "bench_tiny_plugin.py").write_text(PLUGIN)
    (folder / "bench_tiny.py").write_text(RECIPE)


def part(what: str, run: Path, out: Path, n: int, workers: int) -> None:
    """What a process of its own does; prints its peak memory in MB."""
    from sfumato_eval import Frechet
    from sfumato_eval.sources import summarise
    from sfumato_train import open_run
    from sfumato_train.jobs.shards import Asked, job_batches
    from sfumato_train.jobs.workers import sample_job

    opened = open_run(run)
    if what == "sample":
        asked = Asked(n=n, shard=SHARD, batch=250, device="cpu")
        sample_job(opened, out, asked, workers=workers)
    if what == "measure":
        metric = Frechet()
        real = summarise(metric.summary, opened.domain.demo(), side="real")
        made = summarise(metric.summary, job_batches(opened, out), side="samples")
        score = metric.between(made, real)
        print(f"measured {made.n} samples: {score.value:.3f}", file=sys.stderr)
    (peak,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    print(int(peak.split()[1]) / 1024)


def peak(what: str, run: Path, out: Path, n: int, workers: int = 1) -> tuple[float, float]:
    """(peak memory in MB, seconds) of one part."""
    words = [what, str(run), str(out), str(n), str(workers)]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--part", *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout), time.perf_counter() - began


def rate(job: Path) -> float:
    """Images/s over the last two thirds of the shards of a job."""
    ends = sorted(path.stat().st_mtime for path in job.glob("shard-*"))
    ends = ends[len(ends) // 3 :]
    return SHARD * (len(ends) - 1) / (ends[-1] - ends[0])


def memory(folder: Path, run: Path, small: int, large: int) -> None:
    """Print the table of memory."""
    base = peak("nothing", run, folder / "none", 1)[0]
    print(f"{'':28}{'peak MB':>9}{'over imports':>14}{'seconds':>9}")
    print(f"{'imports and the run':28}{base:9.0f}{0:14.0f}")
    over: dict[tuple[str, int], float] = {}
    for n in (small, large):
        for what in ("sample", "measure"):
            top, seconds = peak(what, run, folder / f"job-{n}", n)
            over[what, n] = top - base
            print(f"{f'{what} {n:,}':28}{top:9.0f}{top - base:14.0f}{seconds:9.1f}", flush=True)
    for what in ("sample", "measure"):
        more = over[what, large] - over[what, small]
        print(f"{what}: {more:+.0f} MB for {large // small} times as many samples")


def speed(folder: Path, run: Path, n: int, rounds: int) -> None:
    """Print images/s of one and of two workers."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for i in range(rounds):
        for workers in found:
            job = folder / f"speed-{workers}-{i}"
            peak("sample", run, job, n, workers)
            found[workers].append(rate(job))
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    print(f"{n:,} samples, median of {rounds}")
    for workers, values in found.items():
        print(f"{workers} worker(s): {statistics.median(values):,.0f} images/s")
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2,000 and 20,000 samples, one round")
    parser.add_argument("--part", nargs=5, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.part:
        what, run, out, n, workers = words.part
        part(what, Path(run), Path(out), int(n), int(workers))
        return
    small, large, count, rounds = (
        (2000, 20_000, 6000, 1) if words.quick else (10_000, 100_000, 20_000, 3)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder / "site")
        os.environ["PYTHONPATH"] = str(folder / "site")
        sys.path.insert(0, str(folder / "site"))
        from sfumato_train import start

        run = folder / "run"
        start("bench/tiny", ["steps=1", "batch=8"], None, run, device="cpu")
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, shards of {SHARD:,}")
        memory(folder, run, small, large)
        speed(folder, run, count, rounds)


if __name__ == "__main__":
    main()
