"""A Flexible Diffusion Model.

Du, Zhang, Yang & Zhang 2022, arXiv:2206.10365. The headline is a better fit when the spatial part
of the forward equation, R and w, is learned. Here: mixtures of four normals in two dimensions, each
30 times longer than wide, all drawn out along one oblique axis; a small network, trained by the
continuous bound with R and w learned, against the same network from the same weights with R = I
and w = 0 (variance preserving), on the same data and noise for the same steps. R is free, its scale
too, which a schedule could give as well: a gain is not of the directions alone.
"""

from __future__ import annotations

__all__ = ["system", "target"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato_testing import FullMixture

STEPS, BATCH, HELD = 500, 256, 20_000
WIDTH, DEPTH = 64, 2
CONDITION = 30.0
"""Ratio of the variances along and across."""
START = 1e-3
PATHS, LEGS = 1000, 30


def target(seed: int) -> FullMixture:
    """Four equal normals of condition 30 along one axis, about means of unit size."""
    import torch

    from sfumato import random
    from sfumato_testing import FullMixture

    generator = random.derive(seed, "mixture")
    angle = float(random.uniform((1,), generator)) * 3.141592653589793
    means = random.normal(torch.empty(4, 2, dtype=torch.float64), generator)
    along = torch.tensor([angle, angle + 0.5 * 3.141592653589793]).double()
    axes = torch.stack([along.cos(), along.sin()], 1)
    variances = torch.tensor([0.6, 0.6 / CONDITION], dtype=torch.float64)
    covariance = axes.T @ variances.diag() @ axes
    return FullMixture(means, covariance.expand(4, 2, 2))


def length(process: Any, denoiser: Any, start: Tensor) -> float:
    """Mean length of the paths of the probability flow from t = 1 to START, by Heun's method."""
    import torch

    from sfumato import run
    from sfumato_methods.solvers import Heun

    grid = torch.linspace(1, START**0.5, LEGS + 1, dtype=torch.float64).square()
    total = torch.zeros(len(start), dtype=start.dtype)
    with torch.inference_mode():
        for frame in run(Heun(), process, denoiser, start, grid, torch.Generator()):
            total = total + (frame.after - frame.before).norm(dim=1)
    return float(total.mean())


def trial(given: Trial) -> Mapping[str, Measured]:
    """Both processes.

    - `gain`: mean over held-out items of (bound of VP - bound learned), beside its standard error;
    - `path`: mean length of the paths of the probability flow, learned beside VP.
    """
    import torch

    from sfumato import Preconditioned, random
    from sfumato_eval.systems.bounded import Net, bound_of, fitted
    from sfumato_methods.bounds import Continuous
    from sfumato_methods.gaussian import VP, Gaussian
    from sfumato_methods.learned import FPDiff

    law, bound = target(given.seed), Continuous(START)
    steps = max(20, round(STEPS * given.scale))
    held = law.sample(max(200, round(HELD * given.scale)), random.derive(given.seed, "held"))
    start = random.normal(torch.empty(PATHS, 2), random.derive(given.seed, "start"))
    nats, paths = {}, {}
    began = time.monotonic()
    for name in ("vp", "learned"):
        process: Any = Gaussian(VP()) if name == "vp" else FPDiff(2)
        net = Net(2, WIDTH, DEPTH, random.derive(given.seed, "weights"))
        denoiser = Preconditioned(net, Gaussian(VP()), "edm")
        fitted(
            process,
            denoiser,
            bound,
            lambda generator: law.sample(BATCH, generator).float(),
            steps,
            random.derive(given.seed, "training"),
            lr=4e-3,
            faster=10.0,
        )
        source = random.derive(given.seed, "measure")
        nats[name] = bound_of(process, denoiser, bound, held.float(), source)
        paths[name] = length(process, denoiser, start)
    gain = nats["vp"] - nats["learned"]
    error = float(gain.std()) / len(gain) ** 0.5
    cost = time.monotonic() - began
    return {
        "gain": Measured(float(gain.mean()), error, None, len(gain), cost),
        "path": Measured(paths["learned"], paths["vp"], None, PATHS, cost),
        "bound": Measured(
            float(nats["learned"].mean()),
            float(nats["vp"].mean()),
            float(law.nll(held).mean()),
            len(gain),
            cost,
        ),
    }


system = System(
    id="fpdiff",
    title="A Flexible Diffusion Model",
    source="Du, Zhang, Yang & Zhang 2022, arXiv:2206.10365",
    components=("vp", "heun"),
    trial=trial,
    claims=(
        Claim("learning R and w lowers the bound by two standard errors or more", "gain",
              at_least=2.0),
        Claim("paths of the learned probability flow are a tenth shorter", "path", at_most=0.9),
    ),
)  # fmt: skip
