"""Neural Flow Diffusion Models: Learnable Forward Process for Improved Diffusion Modelling.

Bartosh, Vetrov & Naesseth 2024, arXiv:2404.12940. The headlines are likelihood and, with a penalty
on the curvature of trajectories (NFDM-OT), nearly straight paths that are followed in few steps.
Here: a checkerboard in two dimensions; a small network with a learned forward process (the straight
line of `linear`, its mean and width bent by two more networks) and the penalty, against the same
network from the same weights under variance-preserving noise, on the same data for the same steps;
both trained by the continuous bound. The straight line unbent is measured too, without a claim.
"""

from __future__ import annotations

__all__ = ["checkerboard", "curvature", "flow_nll", "system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Generator, Tensor

STEPS, BATCH = 800, 256
HELD, DRAWN = 2000, 5000
WIDTH, DEPTH, BEND_WIDTH = 96, 2, 48
STRAIGHT = 0.3
"""Weight of the penalty on d v/dt, the mean over the two numbers."""
START = 1e-2
FEW = (2, 4)
FINE = 50
"""Steps of Euler's method, few to be close to data, many to measure a path."""
LEGS = 24
"""Steps of Heun's method, even in log t, for the likelihood of the flow."""


def checkerboard(n: int, generator: Generator) -> Tensor:
    """(n, 2) uniform on the eight dark cells of a board of 4 x 4 on [-2, 2]^2: log 8 nats."""
    import torch

    from sfumato import random

    cell = random.integers(0, 8, (n,), generator)
    row, column = cell // 2, 2 * (cell % 2)
    corner = torch.stack([column + row % 2, row], 1).double()
    return corner + random.uniform((n, 2), generator) - 2


def curvature(process: Any, denoiser: Any, start: Tensor) -> float:
    """Length of the trajectories over the distance of their ends, minus 1.

    Both are means over all trajectories before the division: single ones may end where they began.
    """
    import torch

    from sfumato import run
    from sfumato_methods.grids import uniform
    from sfumato_methods.solvers import Euler

    x, total = start, torch.zeros(len(start))
    with torch.inference_mode():
        for frame in run(
            Euler(), process, denoiser, start, uniform(process, FINE), torch.Generator()
        ):
            total = total + (frame.after - frame.before).norm(dim=1)
            x = frame.after
    return float(total.mean() / (x - start).norm(dim=1).mean()) - 1


def flow_nll(process: Any, denoiser: Any, x: Tensor, start: float) -> Tensor:
    """(B,) -log density of states at `start` under the probability flow from the prior at t = 1.

    log p(x_start) = log p(x_1) + integral of the divergence of the velocity, which is exact here:
    one forward-mode derivative for each of the two numbers.
    """
    import torch

    def moved(y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        def flow(z: Tensor) -> Tensor:
            found: Tensor = process.velocity(denoiser(z, t), z, t)
            return found

        each, velocity = [], x
        with torch.enable_grad():  # without, torch lacks second derivatives of the activation
            for axis in torch.eye(2):
                velocity, turn = torch.func.jvp(flow, (y,), (axis.expand_as(y),))[:2]
                each.append((turn * axis).sum(1))
        return velocity.detach(), sum(each, start=torch.zeros(len(y))).detach()

    total = torch.zeros(len(x))
    grid = torch.logspace(0, 1, LEGS + 1, base=1 / start, dtype=torch.float64) * start
    for t, s in zip(grid[:-1], grid[1:].clamp_max(1), strict=True):
        step = float(s - t)
        here, spread = moved(x, t)
        there, after = moved(x + step * here, s)
        x = x + 0.5 * step * (here + there)
        total = total + 0.5 * step * (spread + after)
    found: Tensor = process.prior(x).nll(x) - total
    return found


def trial(given: Trial) -> Mapping[str, Measured]:
    """All processes.

    - `curvature`: of trajectories of the probability flow, NFDM-OT beside VP;
    - `euler-2`, `euler-4`: sliced Wasserstein distance to the data in so many steps;
    - `nll`: nats by the flow that is sampled from; the floor is the exact log 8;
    - `bound`: nats by the variational bound, without a claim;
    - `linear-...`: NFDM-OT beside the process that it bends.
    """
    import math

    import torch

    from sfumato import Batch, Preconditioned, random, sample
    from sfumato_eval.sliced import SlicedWasserstein
    from sfumato_eval.systems.bounded import Net, bound_of, fitted, zeroed
    from sfumato_methods.bounds import Continuous
    from sfumato_methods.gaussian import VP, Gaussian, Linear
    from sfumato_methods.grids import uniform
    from sfumato_methods.learned import NFDM
    from sfumato_methods.solvers import Euler

    steps, n = max(20, round(STEPS * given.scale)), max(200, round(DRAWN * given.scale))
    held = checkerboard(max(200, round(HELD * given.scale)), random.derive(given.seed, "held"))
    metric = SlicedWasserstein(directions=128)
    data, other = (
        metric.summary(Batch(checkerboard(n, random.derive(given.seed, name))))
        for name in ("data", "other")
    )
    start = random.normal(torch.empty(n, 2), random.derive(given.seed, "start"))
    found: dict[str, dict[str, float]] = {}
    began = time.monotonic()
    for name in ("vp", "linear", "nfdm"):
        weights = random.derive(given.seed, "weights")
        net = Net(2, WIDTH, DEPTH, weights)
        base = Gaussian(VP() if name == "vp" else Linear())
        process: Any = base
        if name == "nfdm":
            mean, spread = (zeroed(Net(2, BEND_WIDTH, 1, weights)) for _ in range(2))
            process = NFDM(Linear(), mean, spread)
        denoiser = Preconditioned(net, base, "edm")
        first = 1e-3 if name == "vp" else START  # sigma is 0.01 at both
        bound = Continuous(first)
        fitted(
            process,
            denoiser,
            bound,
            lambda generator: checkerboard(BATCH, generator).float(),
            steps,
            random.derive(given.seed, "training"),
            straight=STRAIGHT if name == "nfdm" else 0.0,
        )
        source = random.derive(given.seed, "measure")
        nats = bound_of(process, denoiser, bound, held.float(), source, times=4)
        noisy = process.marginal(held.float(), torch.tensor(first)).sample(source).detach()
        scaled = 2 * math.log(float(base.alpha(torch.tensor(first))))  # to the density of the data
        exact = flow_nll(process, denoiser, noisy, first)
        found[name] = {"bound": float(nats.mean()), "nll": float(exact.mean()) - scaled}
        found[name]["curvature"] = curvature(process, denoiser, start)
        for few in FEW:
            drawn = sample(
                process,
                denoiser,
                start,
                sampler=Euler(),
                grid=uniform(process, few),
                generator=random.derive(given.seed, "start"),
            )
            found[name][f"euler-{few}"] = metric.between(metric.summary(Batch(drawn)), data).value
    cost = time.monotonic() - began
    floors = {"nll": math.log(8), "bound": math.log(8), "curvature": None}
    floor = metric.between(other, data).value
    return {
        prefix + key: Measured(value, found[than][key], floors.get(key, floor), n, cost)
        for key, value in found["nfdm"].items()
        for prefix, than in (("", "vp"), ("linear-", "linear"))
    }


system = System(
    id="nfdm",
    title="Neural Flow Diffusion Models: Learnable Forward Process for Improved Diffusion "
    "Modelling",
    source="Bartosh, Vetrov & Naesseth 2024, arXiv:2404.12940",
    components=("nfdm", "vp", "linear", "euler", "uniform", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim("trajectories of NFDM-OT bend a third as much as those of VP", "curvature",
              at_most=0.3),
        Claim("closer to the data in 2 steps of Euler's method", "euler-2", at_most=0.6),
        Claim("closer to the data in 4 steps of Euler's method", "euler-4", at_most=0.6),
        Claim("the likelihood of the flow is no worse by 2 %", "nll", at_most=1.02),
    ),
)  # fmt: skip
