"""Overhead of a step of the linear processes over that of a plain Gaussian one.

Ancestral steps with a denoiser that answers at once, on 4 x 3 x 32 x 32 numbers (`--tiny`: on 4),
the plan made before. Thread CPU time, the least of many runs taken in turn; ratios to `vp` on data
of the same shape, and to `vp` on a state of as many fields as the process has.

    .venv/bin/python tools/bench/linear_steps.py [--quick] [--tiny]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from sfumato import Ancestral, Dirac, Fields, random, registry, run
from sfumato_methods.grids import uniform

COPIES = {
    "vp": 1, "subvp": 1, "pfgmpp": 1, "cld": 2, "agm": 2, "alda": 3, "malda": 3, "blurring": 1,
}  # fmt: skip
"""Fields of the state of each process."""

STEPS = 50


def cost(name: str, like: Any) -> float:
    """Microseconds a step."""
    process = registry().load("process", name)()
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
    parser.add_argument("--tiny", action="store_true", help="four numbers")
    words = parser.parse_args()
    torch.set_num_threads(1)
    like = torch.zeros(1, 1, 2, 2) if words.tiny else torch.zeros(4, 3, 32, 32)
    plain = {n: Fields({f"part {i}": like.clone() for i in range(n)}) for n in (2, 3)}
    runs: dict[Any, tuple[str, Any]] = {name: (name, like) for name in COPIES}
    runs |= {n: ("vp", state) for n, state in plain.items()}
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(5 if words.quick else 60):
        for key, (name, state) in runs.items():
            least[key] = min(least[key], cost(name, state))
    for name, copies in COPIES.items():
        own, alike = least[name], least["vp" if copies == 1 else copies]
        print(
            f"{name:10s} {own:7.1f} us a step, {own / least['vp']:.2f} of vp, "
            f"{own / alike:.2f} of vp on {copies} fields"
        )


if __name__ == "__main__":
    main()
