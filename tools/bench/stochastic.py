"""Overhead per step of the stochastic and reversible samplers, ours beside `diffusers`, in one run.

Run: `.venv/bin/python tools/bench/stochastic.py`. As `overhead.py`: the network is a stub, the
state tiny, each figure the best of several repeats in turns; the ratio is to the sampler of
`diffusers` that defines the same or the nearest method, median over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from overhead import STEPS, ours, timed

from sfumato_methods.solvers import (
    DDIM,
    ERSDE,
    LML,
    SEEDS,
    ChurnHeun,
    EulerMaruyama,
    EVODiff,
    PredictorCorrector,
    Rex,
    SDEDPMSolverPP,
)

SDE, ANCESTRAL = "diffusers SDE-DPM-Solver++(2M)", "diffusers EulerAncestral"
SAMPLERS: dict[str, tuple[object, str]] = {
    "ER-SDE-5, order 3": (ERSDE(), SDE),
    "SDE-DPM-Solver++(2M)": (SDEDPMSolverPP(), SDE),
    "ER-SDE, order 1": (ERSDE(order=1), ANCESTRAL),
    "DDIM(eta=1)": (DDIM(1.0), ANCESTRAL),
    "Euler-Maruyama": (EulerMaruyama(), ANCESTRAL),
    "EVODiff": (EVODiff(), SDE),
    "LML": (LML(), SDE),
    "SEEDS-2 (two calls)": (SEEDS(), SDE),
    "churn (two calls)": (ChurnHeun(), SDE),
    "predictor-corrector (two calls)": (PredictorCorrector(), SDE),
    "Rex (two calls)": (Rex(), SDE),
}


def theirs(scheduler: object, seed: int) -> Callable[[], None]:
    """A whole sampling loop over a stochastic `diffusers` scheduler."""
    output = torch.full((1, 4), 0.1 * seed)

    def go() -> None:
        generator = torch.Generator().manual_seed(seed)
        scheduler.set_timesteps(STEPS)
        x = torch.zeros(1, 4)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                scheduler.scale_model_input(x, t)  # or it warns at every step
                x = scheduler.step(output, t, x, generator=generator).prev_sample

    return go


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        contestants = {name: ours(sampler, seed) for name, (sampler, _) in SAMPLERS.items()}
        contestants[SDE] = theirs(
            DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"), seed
        )
        contestants[ANCESTRAL] = theirs(EulerAncestralDiscreteScheduler(), seed)
        for go in contestants.values():
            go()
        rounds = [{k: timed(go) for k, go in contestants.items()} for _ in range(args.repeats)]
        for name in contestants:
            figures.setdefault(name, []).append(min(r[name] for r in rounds))
    print(f"us per step, best of {args.repeats}, {args.seeds} seeds, 1 thread, state (1, 4)")
    for name, values in figures.items():
        baseline = SAMPLERS[name][1] if name in SAMPLERS else name
        ratios = [v / b for v, b in zip(values, figures[baseline], strict=True)]
        listed = " ".join(f"{v:6.1f}" for v in values)
        print(f"{name:32s} {listed}   median ratio {statistics.median(ratios):5.2f} of {baseline}")


if __name__ == "__main__":
    main()
