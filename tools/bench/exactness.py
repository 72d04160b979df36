"""Order of the solvers, and independence of an item from its batch, over three seeds.

Run: `.venv/bin/python tools/bench/exactness.py`. The slopes are those of the error against the
exact probability flow of a Gaussian, under an exact denoiser, when the steps double. The second
table compares item 41 of a batch of 64 with the same item drawn alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfumato import Can, Dirac, Preconditioned, Sampler, Streams, expand, random, run, sample
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler, Heun
from sfumato_nn.sizes import dit

SOLVERS = {DDIM(): 1, Euler(): 1, Heun(): 2, DPMSolverPP(): 2}
SCHEDULES = (VP(), VE(), Linear(), Cosine(), EDM())
MEAN, STD = 1.0, 0.5
END = torch.tensor(0.2, dtype=torch.float64)


def error(solver: Sampler, process: Gaussian, steps: int, seed: int) -> float:
    """Largest distance to the exact flow from t = 0.9 to t = 0.2 on a grid even in log-SNR."""

    def spread(t: Tensor) -> Tensor:
        return (process.alpha(t).square() * STD**2 + process.sigma(t).square()).sqrt()

    def denoiser(x: Tensor, t: Tensor) -> Dirac:
        gain = STD**2 * process.alpha(t) / spread(t).square()
        return Dirac((x - expand(x, process.alpha(t)) * MEAN) * expand(x, gain) + MEAN)

    start = torch.tensor(0.9, dtype=torch.float64)
    ends = [float(process.logsnr(t)) for t in (start, END)]
    grid = process.time(torch.linspace(*ends, steps + 1, dtype=torch.float64))
    z = random.normal(torch.zeros(64, 1, dtype=torch.float64), random.derive(seed, "order"))
    x = process.alpha(grid[0]) * MEAN + spread(grid[0]) * z
    for frame in run(solver, process, denoiser, x, grid, random.derive(seed, "unused")):
        x = frame.after
    exact = process.alpha(grid[-1]) * MEAN + spread(grid[-1]) * z
    return float((x - exact).abs().max())


def gap(solver: Sampler, process: Gaussian, network: bool, seed: int) -> float:
    """Largest difference between an item in a batch of 64 and the item alone."""
    net = dit("tiny", channels=1) if network else None
    if net is not None:
        for i, weight in enumerate(net.parameters()):
            noise = random.normal(weight, random.derive(seed, "weights", i))
            weight.data = weight.data + 0.02 * noise
    denoiser = Preconditioned(net, process) if net is not None else lambda x, t: Dirac(x * 0.5)

    def draw(numbers: range) -> Tensor:
        like = torch.zeros(len(numbers), 1, 8, 8)
        streams = Streams.derive(seed, "items", numbers)
        grid = grids.uniform(process, 5)
        return sample(process, denoiser, like, sampler=solver, grid=grid, generator=streams)

    return float((draw(range(64))[41] - draw(range(41, 42))[0]).abs().max())


def main() -> None:
    """Print both tables."""
    from sfumato import Ancestral

    torch.set_num_threads(1)
    print("slope of the error when 80 steps become 160 (three seeds)")
    for solver, order in SOLVERS.items():
        for schedule in SCHEDULES:
            process = Gaussian(schedule)
            slopes = [
                math.log2(error(solver, process, 80, s) / error(solver, process, 160, s))
                for s in range(3)
            ]
            listed = " ".join(f"{v:.3f}" for v in slopes)
            print(f"{solver!r:16} {schedule!r:38} order {order}: {listed}")
    print("\nitem alone against item in a batch of 64: largest difference over three seeds")
    for solver in (*SOLVERS, DDIM(1.0), Ancestral()):
        for schedule in SCHEDULES:
            process = Gaussian(schedule)
            assert Can.AFFINE in process.can
            plain, net = (
                max(gap(solver, process, network, s) for s in range(3)) for network in (False, True)
            )
            print(f"{solver!r:16} {schedule!r:38} independent denoiser {plain:g}, DiT {net:.1e}")


if __name__ == "__main__":
    main()
