"""Rules and methods of the exact likelihood at equal cost, against closed forms, in one run.

Run: `.venv/bin/python tools/bench/likelihood.py`. A mixture of ten normals in 64 dimensions under
the flow process, whose prior is exact. First the error of the value by network calls, with the
exact trace; then, at 12 products with the Jacobian in each call, the standard deviation of the
value over the probes. The last column is the time of a call with its trace, least of the repeats.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from sfumato import random
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import logsnr
from sfumato_methods.measures import Exact, Hutchinson, HutchPP, log_likelihood
from sfumato_methods.measures.traces import Products, Trace
from sfumato_methods.solvers.tableaux import DOPRI5, EULER, HEUN, RK4
from sfumato_testing import FullMixture

DIMENSIONS, START, ITEMS, REPEATS = 64, 0.02, 16, 2


class Kept:
    """One set of probes for the whole integral, as in Grathwohl et al. 2018, section 3.1."""

    exact = False

    def __init__(self, seed: int) -> None:
        self.rule, self.seed = Hutchinson(12), seed

    def __call__(self, products: Products, generator: object) -> Tensor:
        """The same draws at each call."""
        return self.rule(products, random.derive(self.seed, "kept"))


def mixture(seed: int) -> FullMixture:
    """Ten normals, wide in 8 directions of 64, which no axis is one of, and 0.1 in the others."""
    like = torch.empty(10, DIMENSIONS, dtype=torch.float64)
    means = random.normal(like, random.derive(seed, "means"))
    widths = torch.tensor([1.0] * 8 + [0.1] * (DIMENSIONS - 8), dtype=torch.float64)
    square = random.normal(like.new_empty(DIMENSIONS, DIMENSIONS), random.derive(seed, "turn"))
    turn, _ = torch.linalg.qr(square)
    return FullMixture(means, (turn * widths.square() @ turn.T).expand(10, -1, -1))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.set_num_threads(1)
    process, target = linear(), mixture(seed)
    denoiser, t = target.denoiser(process), torch.tensor(START, dtype=torch.float64)
    x0 = target.sample(ITEMS, random.derive(seed, "x"))
    x = process.marginal(x0, t).sample(random.derive(seed, "noise"))
    exact = target.log_density(process, x, t)

    def grid(steps: int) -> Tensor:
        return logsnr(process, steps + 1, sigma_min=START / (1 - START))[:-1].flip(0)

    print(f"{'method':22} {'calls':>6} {'RMS error, nats':>16}")
    for tableau in (EULER, HEUN, RK4, DOPRI5):
        for calls in (48, 96):
            found = log_likelihood(
                process, denoiser, x, grid(calls // len(tableau.b)), tableau=tableau
            ).value
            error = float((found - exact).square().mean().sqrt())
            print(f"{tableau.name:22} {calls:6d} {error:16.2e}", flush=True)

    rules: dict[str, Trace] = {
        "exact": Exact(),
        "hutch++": HutchPP(12),
        "signs": Hutchinson(12),
        "normal": Hutchinson(12, "gaussian"),
        "signs, kept": Kept(seed),
    }
    times, steps = grid(12), 12
    best = log_likelihood(process, denoiser, x, times).value
    print(f"\n{'trace, 12 products':22} {'spread, nats':>13} {'told error':>11} {'ms a call':>10}")
    for name, rule in rules.items():
        took = []
        for repeat in range(REPEATS):
            began = time.thread_time()
            found = log_likelihood(
                process, denoiser, x, times, trace=rule, generator=random.derive(seed, name, repeat)
            )
            took.append((time.thread_time() - began) / steps / len(RK4.b))
        spread = float((found.value - best).square().mean().sqrt())
        told = float(found.error.square().mean().sqrt())
        print(f"{name:22} {spread:13.4f} {told:11.4f} {1e3 * min(took):10.2f}")


if __name__ == "__main__":
    main()
