"""Overhead per sampling step on a tiny state, ours beside `diffusers`, in one run.

Run: `.venv/bin/python tools/bench/overhead.py [--large]`. The network is a stub that returns a
tensor made beforehand, so that all that is left is the sampler. Each figure is the best of several
repeats, the contestants taking turns, in CPU time of the thread, which others on the machine
disturb less. Every sampler of ours with one call a step is compared with its own counterpart in
`diffusers`: ratios are medians over the seeds. `--large` measures a step at 64 x 3 x 256 x 256
beside the same linear combination written by hand, with one fused operation for each term and one
draw where there is noise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    IPNDMScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
)

from sfumato import Ancestral, Dirac, sample
from sfumato.sampling import Point
from sfumato_methods import grids
from sfumato_methods.gaussian import VP, Gaussian, Linear
from sfumato_methods.solvers import (
    DDIM,
    ERSDE,
    IPNDM,
    Angular,
    DPMSolver,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    ExponentialAB,
    Heun,
    RhoAB,
    SDEDPMSolverPP,
    TimeAB,
    UniPC,
)

STEPS = 200
LARGE = (64, 3, 256, 256)

# Ours, the counterpart of theirs or None, the most microseconds, the largest ratio.
PAIRS: dict[str, tuple[Any, Callable[[], Any] | None, float, float]] = {
    "Ancestral": (Ancestral(), DDPMScheduler, 25, 0.35),
    "DDIM": (DDIM(), DDIMScheduler, 25, 0.35),
    "DDIM(eta=1)": (DDIM(1.0), DDIMScheduler, 25, 0.35),
    "Euler": (Euler(), EulerDiscreteScheduler, 25, 0.35),
    "Euler, flow": (Euler(), FlowMatchEulerDiscreteScheduler, 25, 0.35),
    "DPM-Solver++(2M)": (DPMSolverPP(), DPMSolverMultistepScheduler, 25, 0.2),
    "DPM-Solver++(3M)": (
        DPMSolverPP(3), lambda: DPMSolverMultistepScheduler(solver_order=3), 40, 0.2,
    ),
    "DPM-Solver++(2S)": (DPMSolver(2, "data"), DPMSolverSinglestepScheduler, 25, 0.2),
    "exp-AB2, noise (DEIS)": (
        ExponentialAB(2, "noise"), lambda: DEISMultistepScheduler(solver_order=2), 25, 0.2,
    ),
    "exp-AB3, noise (DEIS)": (
        ExponentialAB(3, "noise"), lambda: DEISMultistepScheduler(solver_order=3), 40, 0.2,
    ),
    "exp-AB3, data": (ExponentialAB(3), None, 40, 0.2),
    "exp-AB4, data": (ExponentialAB(4), None, 40, 0.2),
    "tAB3": (TimeAB(3), None, 40, 0.2),
    "rhoAB3 (LMS)": (RhoAB(3), LMSDiscreteScheduler, 40, 0.2),
    "iPNDM": (IPNDM(3), IPNDMScheduler, 40, 0.2),
    "UniPC-2": (UniPC(2), UniPCMultistepScheduler, 40, 0.2),
    "UniPC-3": (UniPC(3), lambda: UniPCMultistepScheduler(solver_order=3), 40, 0.2),
    "Angular-3": (Angular(), None, 40, 0.2),
    "Heun (two calls)": (Heun(), None, float("inf"), 1.0),
}  # fmt: skip


FLOWS = ("Euler, flow",)
"""What is compared on the process of flow matching, as theirs are; the rest is on `VP`."""


def ours(sampler: Any, seed: int, flow: bool = False) -> Callable[[], None]:
    """A whole sampling run of ours, the planning of its coefficients included."""
    process = Gaussian(Linear() if flow else VP())
    like, grid = torch.zeros(1, 4), grids.uniform(process, STEPS)
    posterior = Dirac(torch.full((1, 4), 0.1 * seed))

    def go() -> None:
        generator = torch.Generator().manual_seed(seed)
        sample(
            process, lambda x, t: posterior, like, sampler=sampler, grid=grid, generator=generator
        )

    return go


def theirs(make: Callable[[], Any], seed: int) -> Callable[[], None]:
    """A whole sampling loop over a `diffusers` scheduler, its time table included."""
    scheduler, output = make(), torch.full((1, 4), 0.1 * seed)

    def go() -> None:
        scheduler.set_timesteps(STEPS)
        x = torch.zeros(1, 4)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                if hasattr(scheduler, "scale_model_input"):
                    x = scheduler.scale_model_input(x, t)
                x = scheduler.step(output, t, x).prev_sample

    return go


def timed(go: Callable[[], None]) -> float:
    """Microseconds per step of one run."""
    start = time.thread_time()
    go()
    return (time.thread_time() - start) / STEPS * 1e6


def tiny(repeats: int, seeds: int) -> None:
    """Print microseconds per step beside the counterpart, for every sampler."""
    print(f"us per step, best of {repeats}, {seeds} seeds, 1 thread, state (1, 4) float32")
    for name, (sampler, counterpart, most, largest) in PAIRS.items():
        mine, other = [], []
        for seed in range(seeds):
            contestants = [ours(sampler, seed, name in FLOWS)]
            contestants += [theirs(counterpart, seed)] if counterpart else []
            for go in contestants:
                go()
            rounds = [[timed(go) for go in contestants] for _ in range(repeats)]
            best = [min(column) for column in zip(*rounds, strict=True)]
            mine.append(best[0])
            other += best[1:]
        figure = statistics.median(mine)
        line = f"{name:24s} {figure:6.1f} (at most {most:g}: {figure <= most})"
        if other:
            ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
            line += f"   theirs {statistics.median(other):7.1f}   ratio {ratio:5.2f}"
            line += f" (at most {largest:g}: {ratio <= largest})"
        print(line)


def large(repeats: int) -> None:
    """Print milliseconds of one step on a large state beside the least work by hand."""
    process = Gaussian(VP())
    grid = grids.uniform(process, 20)
    states = [torch.rand(LARGE) for _ in range(4)]
    print(f"ms per step, best of {repeats}, 1 thread, state {LARGE} float32")
    for name, sampler in (
        ("DDIM", DDIM()),
        ("DPM-Solver++(2M)", DPMSolverPP()),
        ("exp-AB3", ExponentialAB(3)),
        ("UniPC-2", UniPC(2)),
        ("exp-AB2, noise", ExponentialAB(2, "noise")),
        ("Euler", Euler()),
        ("Ancestral", Ancestral()),
        ("DDIM(eta=1)", DDIM(1.0)),
        ("Euler-Maruyama", EulerMaruyama()),
        ("ER-SDE-5, order 3", ERSDE()),
        ("SDE-DPM-Solver++(2M)", SDEDPMSolverPP()),
    ):
        row = sampler.plan(process, grid)[10]
        past = [Point(None, x, Dirac(x)) for x in states[: sampler.memory]]
        first, *terms = (c for c in row if c != 0)
        generator = torch.Generator()

        def by_hand(
            first: float = first,
            terms: list[float] = terms,
            draws: bool = not sampler.deterministic,
            generator: torch.Generator = generator,
        ) -> torch.Tensor:
            x = states[0] * first
            for c, other in zip(terms[draws:], states * 2, strict=False):
                x = x.add_(other, alpha=c)
            return x.add_(torch.empty_like(x).normal_(generator=generator)) if draws else x

        def step(
            sampler: Any = sampler,
            row: Any = row,
            past: Any = past,
            generator: torch.Generator = generator,
        ) -> torch.Tensor:
            done: torch.Tensor = sampler.advance(row, process, past, None, generator)
            return done

        rounds = []
        for _ in range(repeats):
            figures = []
            for go in (step, by_hand):
                start = time.thread_time()
                with torch.inference_mode():
                    go()
                figures.append((time.thread_time() - start) * 1e3)
            rounds.append(figures)
        mine, least = (min(column) for column in zip(*rounds, strict=True))
        print(f"{name:24s} {mine:7.1f}   by hand {least:7.1f}   ratio {mine / least:5.2f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.large:
        large(args.repeats)
    else:
        tiny(args.repeats, args.seeds)


if __name__ == "__main__":
    main()
