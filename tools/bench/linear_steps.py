"""Overhead of a step of the linear processes over that of a plain Gaussian one.

Ancestral steps with a denoiser that answers at once, on 4 x 3 x 32 x 32 numbers, the plan made
before. Thread CPU time, the least of many runs taken in turn; ratios to `vp`.

    .venv/bin/python tools/bench/linear_steps.py [--quick]
"""

from __future__ import annotations

import argparse
import time

import torch

from sfumato import Ancestral, Dirac, random, registry, run
from sfumato_methods.grids import uniform

NAMES = ("vp", "subvp", "pfgmpp", "cld", "alda", "malda", "agm", "blurring")
STEPS = 50


def cost(name: str) -> float:
    """Microseconds a step."""
    process = registry().load("process", name)()
    like = torch.zeros(4, 3, 32, 32)
    x = process.prior(like).sample(random.derive(0, name))
    posterior, generator = Dirac(like), random.derive(1, name)
    steps = run(Ancestral(), process, lambda x, t: posterior, x, uniform(process, STEPS), generator)
    with torch.inference_mode():
        next(steps)  # the plan is made here
        began = time.thread_time()
        for _ in steps:
            pass
    return (time.thread_time() - began) / (STEPS - 1) * 1e6


def main() -> None:
    """Print one row for each process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs")
    words = parser.parse_args()
    torch.set_num_threads(1)
    least = dict.fromkeys(NAMES, float("inf"))
    for _ in range(5 if words.quick else 60):
        for name in NAMES:
            least[name] = min(least[name], cost(name))
    for name, value in least.items():
        print(f"{name:10s} {value:7.1f} us a step, ratio {value / least['vp']:.2f}")


if __name__ == "__main__":
    main()
