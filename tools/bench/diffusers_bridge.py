"""A network of `diffusers` sampled by us and by its pipeline, and our schedulers beside theirs.

Run: `.venv/bin/python tools/bench/diffusers_bridge.py`. Contestants take turns; each figure is the
best of several repeats, a ratio is the median over the seeds. Taken is the processor time of one
thread, which on a quiet machine is the wall time. The images of both are compared, so that equal
work is timed. Weights are random: only the time counts.
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
    DDPMPipeline,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    UNet2DModel,
)

from sfumato import sample
from sfumato_diffusers import SfumatoScheduler, from_pipeline
from sfumato_methods.solvers import DDIM, DPMSolverPP, Heun

STEPS = 20
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"sample_size": 16, "block_out_channels": (8, 16)},
    "medium": {"sample_size": 32, "block_out_channels": (32, 64, 128)},
}
SCHEDULERS = {
    "DPM-Solver++(2M)": (DPMSolverMultistepScheduler, DPMSolverPP()),
    "DDIM": (DDIMScheduler, DDIM()),
    "Heun": (HeunDiscreteScheduler, Heun()),
}
MANY = 250


def pipeline(size: str, seed: int) -> Any:
    """A pipeline around a network with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        levels = len(SIZES[size]["block_out_channels"])
        net = UNet2DModel(
            in_channels=3,
            out_channels=3,
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            **SIZES[size],
        ).eval()
    pipe = DDPMPipeline(net, DPMSolverMultistepScheduler(prediction_type="v_prediction"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def whole(size: str, seed: int, batch: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Sampling runs from noise to images in [0, 1]."""
    pipe = pipeline(size, seed)
    model = from_pipeline(pipe)

    def theirs() -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        images = pipe(batch, generator, STEPS, output_type="np").images
        return torch.from_numpy(images)

    def ours() -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        x = sample(
            model.process,
            model.denoiser,
            model.blank(batch, generator),
            sampler=DPMSolverPP(),
            grid=model.grid(model.process, STEPS),
            generator=generator,
        )
        return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)

    return {"theirs": theirs, "ours": ours}


def steps(kind: Any, sampler: Any, seed: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Loops over a scheduler, the output of the network made beforehand."""
    base = kind()
    output = torch.full((1, 4), 0.1 * seed)

    def loop(scheduler: Any) -> Callable[[], torch.Tensor]:
        def go() -> torch.Tensor:
            scheduler.set_timesteps(MANY)
            x = torch.zeros(1, 4)
            with torch.inference_mode():
                for t in scheduler.timesteps:
                    scheduler.scale_model_input(x, t)
                    x = scheduler.step(output, t, x).prev_sample
            return x

        return go

    return {"theirs": loop(base), "ours": loop(SfumatoScheduler.from_scheduler(base, sampler))}


def compare(contest: dict[str, Callable[[], torch.Tensor]], repeats: int) -> dict[str, float]:
    """Processor seconds of each contestant, the best of several turns."""
    for go in contest.values():
        go()
    taken: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(repeats):
        for name, go in contest.items():
            start = time.process_time()
            go()
            taken[name].append(time.process_time() - start)
    return {name: min(values) for name, values in taken.items()}


def show(name: str, figures: list[dict[str, float]], unit: str, scale: float) -> None:
    """One row: what each seed took, and the median ratio."""
    ratio = statistics.median(f["ours"] / f["theirs"] for f in figures)
    listed = "   ".join(
        f"{who} " + " ".join(f"{f[who] * scale:7.1f}" for f in figures) for who in figures[0]
    )
    print(f"{name:20s} {unit}   {listed}   ours/theirs {ratio:.3f}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(args.seeds)
    print(
        f"{STEPS} steps of DPM-Solver++(2M), batch {args.batch}, 1 thread, best of {args.repeats}"
    )
    for size in SIZES:
        contests = [whole(size, seed, args.batch) for seed in seeds]
        gap = max(float((c["ours"]() - c["theirs"]()).abs().max()) for c in contests)
        show(size, [compare(c, args.repeats) for c in contests], "ms a run", 1e3)
        print(f"{'':20s} largest difference of an image: {gap:.1e}")
    print(f"a loop of {MANY} steps over a scheduler, without a network, state (1, 4)")
    for name, (kind, sampler) in SCHEDULERS.items():
        rows = [compare(steps(kind, sampler, seed), args.repeats) for seed in seeds]
        show(name, rows, "us a step", 1e6 / MANY)


if __name__ == "__main__":
    main()
