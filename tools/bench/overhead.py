"""Overhead per sampling step on a tiny state, ours beside `diffusers`, in one run.

Run: `.venv/bin/python tools/bench/overhead.py`. The network is a stub that returns a tensor made
beforehand, so that all that is left is the sampler. Each figure is the best of several repeats,
the contestants taking turns; the ratio is the median over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import DPMSolverMultistepScheduler

from sfumato import Ancestral, Dirac, sample
from sfumato_methods import grids
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler, Heun

STEPS = 500
BASELINE = "diffusers DPMSolverMultistep"


def ours(sampler: object, seed: int) -> Callable[[], None]:
    """A whole sampling run of ours."""
    process = Gaussian(VP())
    like, grid = torch.zeros(1, 4), grids.uniform(process, STEPS)
    posterior = Dirac(torch.full((1, 4), 0.1 * seed))

    def go() -> None:
        generator = torch.Generator().manual_seed(seed)
        sample(
            process, lambda x, t: posterior, like, sampler=sampler, grid=grid, generator=generator
        )

    return go


def theirs(scheduler: object, seed: int) -> Callable[[], None]:
    """A whole sampling loop over a `diffusers` scheduler."""
    output = torch.full((1, 4), 0.1 * seed)

    def go() -> None:
        scheduler.set_timesteps(STEPS)
        x = torch.zeros(1, 4)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                x = scheduler.step(output, t, x).prev_sample

    return go


def best(go: Callable[[], None]) -> float:
    """Microseconds per step of one run."""
    start = time.perf_counter()
    go()
    return (time.perf_counter() - start) / STEPS * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        contestants = {
            "DPM-Solver++(2M)": ours(DPMSolverPP(), seed),
            "Ancestral": ours(Ancestral(), seed),
            "DDIM": ours(DDIM(), seed),
            "DDIM(eta=1)": ours(DDIM(1.0), seed),
            "Euler": ours(Euler(), seed),
            "Heun (two calls)": ours(Heun(), seed),
            BASELINE: theirs(DPMSolverMultistepScheduler(), seed),
        }
        for go in contestants.values():
            go()
        rounds = [{k: best(go) for k, go in contestants.items()} for _ in range(args.repeats)]
        for name in contestants:
            figures.setdefault(name, []).append(min(r[name] for r in rounds))
    print(
        f"us per step, best of {args.repeats}, {args.seeds} seeds, 1 thread, state (1, 4) float32"
    )
    for name, values in figures.items():
        ratios = [v / b for v, b in zip(values, figures[BASELINE], strict=True)]
        listed = " ".join(f"{v:6.1f}" for v in values)
        print(f"{name:30s} {listed}   median ratio {statistics.median(ratios):5.2f}")


if __name__ == "__main__":
    main()
