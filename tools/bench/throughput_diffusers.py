"""Training throughput against the loop of the `diffusers` example, in one run.

- same network: their UNet2DModel in their loop and in `fit`, both conditional on the class.
- equal parameters (within 10 %): their UNet2DModel in their loop, a U-Net of ours in `fit`; once
  in the size of `quality.py`, once in that of their course for 28 x 28 images (widths 32, 64, 64,
  two layers, attention at 14 x 14 and 7 x 7).

The contestants take turns of a few steps with one thread. Of all steps of a seed, each turn's first
ones left out, the medians are compared: CPU time of the process (the thread that reads ahead
included) and wall time. Above 1: `fit` is faster.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/throughput_diffusers.py
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch
from quality_arms import (
    CLASSES,
    OURS,
    THEIRS,
    Clock,
    Options,
    fit_ours,
    fit_theirs,
    our_net,
    our_training,
    their_net,
)
from torch import Tensor, nn

from sfumato import random
from sfumato_data import Tensors

SKIP = 2  # steps of each turn that are not counted
COURSE = (
    {"widths": [32, 64, 160]},
    {"widths": [32, 64, 64], "layers": 2, "groups": 32, "attention": [1, 2]},
)


class Wrapped(nn.Module):
    """Their network, called as ours are."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def encode(self, label: Tensor) -> dict[str, Tensor]:
        """Pass the labels on."""
        return {"labels": label}

    def forward(self, x: Tensor, clock: Tensor, labels: Tensor) -> Tensor:
        """(B, 1, 28, 28)."""
        y: Tensor = self.net(x, clock, class_labels=labels).sample
        return y


def pairs(
    data: Tensors, batch: int, steps: int, seed: int
) -> dict[str, tuple[Callable[[], Clock], Callable[[], Clock], str]]:
    """What is compared: (theirs, ours, parameters of both)."""
    here = {"batch": batch, "lr": 1e-4}

    def pair(
        theirs: Callable[[], nn.Module], ours: Callable[[], nn.Module]
    ) -> tuple[Callable[[], Clock], Callable[[], Clock], str]:
        counts = [sum(p.numel() for p in made().parameters()) for made in (theirs, ours)]
        return (
            lambda: fit_theirs(theirs(), data, steps, {**THEIRS, **here})[1],
            lambda: _ours(ours(), data, steps, seed, {**OURS, **here}),
            f"{counts[0] / 1e6:.2f} M and {counts[1] / 1e6:.2f} M parameters",
        )

    large, course = ({**ours, **own} for ours, own in zip((OURS, THEIRS), COURSE, strict=True))
    return {
        "same network": pair(lambda: their_net(THEIRS), lambda: Wrapped(their_net(THEIRS))),
        "equal parameters": pair(lambda: their_net(THEIRS), lambda: our_net(OURS)),
        "equal parameters, course": pair(lambda: their_net(course), lambda: our_net(large)),
    }


def _ours(net: nn.Module, data: Tensors, steps: int, seed: int, options: Options) -> Clock:
    return fit_ours(our_training(net, data, options), steps, seed, options)[1]


def turns(run: Callable[[], Clock], steps: int) -> np.ndarray:
    """(steps - SKIP, 2) CPU and wall seconds of one turn."""
    return run().each(SKIP)[: steps - SKIP]


def main() -> None:
    """Print one row for each comparison and seed, and the medians over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="the comparison whose name begins so")
    words = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(words.seeds):
        generator = random.derive(seed, "throughput")
        x = random.normal(torch.empty(2048, 1, 28, 28), generator)
        label = random.integers(0, CLASSES, (len(x),), generator)
        data = Tensors(x, {"label": label}, {"sigma_data": 1.0})
        torch.manual_seed(seed)
        for name, (theirs, ours, sizes) in pairs(data, words.batch, words.steps, seed).items():
            if words.only and not name.startswith(words.only):
                continue
            times: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
            for _ in range(words.rounds):
                for run, kept in zip((theirs, ours), times, strict=True):
                    kept.append(turns(run, words.steps))
            a, b = (np.median(np.concatenate(kept), axis=0) for kept in times)
            found.setdefault(name, []).append(a / b)
            print(
                f"{name}, seed {seed}, batch {words.batch}, {sizes}: CPU {1e3 * a[0]:.1f} ms "
                f"a step theirs, {1e3 * b[0]:.1f} ms ours, ratio {a[0] / b[0]:.3f}; wall ratio "
                f"{a[1] / b[1]:.3f}",
                flush=True,
            )
    for name, ratios in found.items():
        cpu, wall = (statistics.median(float(r[i]) for r in ratios) for i in (0, 1))
        print(f"{name}: median of {len(ratios)} seeds, CPU {cpu:.3f}, wall {wall:.3f}")


if __name__ == "__main__":
    main()
