"""Denoising MCMC for Accelerating Diffusion-Based Generative Models.

Kim & Ye 2022, arXiv:2209.14593. The headline is that a chain which stays near the data leaves so
little to denoise that all integrators are accelerated (3.86 FID in about 10 calls on CIFAR-10).
Here, with the exact denoiser of a mixture: the sliced Wasserstein distance to the data of samples
of Denoising Langevin Gibbs, 4 moves and 3 Heun steps (5 calls) each, against Heun's method from
sigma = 80 in 13 calls. Starts and burn-in of the chains are paid for: 11.2 calls a sample in all.
The noise level is drawn either from its exact law or from a classifier, a small network trained
here on noised data; it is asked once a move, which is not counted as a call of the denoiser.
"""

from __future__ import annotations

__all__ = ["LEVELS", "Classifier", "exact_levels", "system", "trained"]

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from .desk import Desk

CHAINS, LINKS = 250, 16
ETA = 0.02
"""Step of the Langevin dynamics: about the smallest variance of the data, 0.15^2."""
SKIP, BURN, START = 4, 20, 15
STEPS = 3
LEVELS, LOW, HIGH = 200, 0.01, 80.0
BASELINE = 7
"""Steps of Heun's method: 13 calls."""
TODAY = 11
"""Calls of DPM-Solver++(2M) that the chains are compared with, without a claim."""
TRAINING, BATCH = 2000, 512


def _table(desk: Desk) -> Tensor:
    """(L,) times of the noise levels, log-uniform."""
    import math

    import torch

    level = torch.linspace(math.log(LOW), math.log(HIGH), LEVELS, dtype=torch.float64)
    times: Tensor = desk.process.time(-2 * level)
    return times


def exact_levels(desk: Desk, times: Tensor) -> Callable[[Tensor], Tensor]:
    """Log densities of v under the noised mixture, for each level: (B, d) to (B, L)."""
    import torch

    target = desk.target
    level = (-0.5 * desk.process.logsnr(times)).exp()
    total = target.variances[..., None] + level.square()  # (M, d, L)
    precision, offset = 1 / total, total.log().sum(1)

    def levels(v: Tensor) -> Tensor:
        turned = torch.einsum("bmd,mde->bme", v[:, None] - target.means, target.axes)
        each = torch.einsum("bme,mel->bml", turned.square(), precision) + offset
        found: Tensor = (target.weights.log()[:, None] - 0.5 * each).logsumexp(1)
        return found

    return levels


def Classifier(dimensions: int) -> nn.Module:  # noqa: N802, a network
    """Logits of the noise levels: of the direction of v and the log of its length."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(2 * dimensions + 1, 256),
                nn.SiLU(),
                nn.Linear(256, 256),
                nn.SiLU(),
                nn.Linear(256, LEVELS),
            )

        def forward(self, v: Tensor) -> Tensor:
            v = v.float()
            size = v.square().mean(1, keepdim=True).sqrt()
            # near the data the place itself tells the level, far away the length alone
            seen: Tensor = self.body(torch.cat([v / (1 + size), torch.tanh(v), size.log()], 1))
            return seen

    return Net()


def trained(desk: Desk, times: Tensor, generator: Generator, steps: int) -> nn.Module:
    """A classifier of the noise levels, trained by cross-entropy on noised data of the mixture."""
    import torch
    from torch.nn import functional as F

    from sfumato import random

    net = Classifier(desk.start.shape[1])
    with torch.no_grad():
        for weight in net.parameters():
            fan = weight.shape[-1] if weight.ndim > 1 else 1
            weight.copy_(random.normal(weight, generator) * (fan**-0.5 if weight.ndim > 1 else 0))
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        pick = random.integers(0, len(times), (BATCH,), generator)
        x0 = desk.target.sample(BATCH, generator)
        x = desk.process.marginal(x0, times[pick]).sample(generator)
        loss = F.cross_entropy(net(x), pick)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    return net.eval()


def chained(desk: Desk, levels: Callable[[Any], Tensor], times: Tensor, chains: int) -> Tensor:
    """All samples of the chains, their links denoised by Heun's method."""
    import torch

    from sfumato import random
    from sfumato_methods.solvers import DPMSolverPP, Heun
    from sfumato_methods.solvers.dmcmc import LangevinGibbs, Link, denoised

    noise = random.derive(desk.seed, "chain")
    with torch.inference_mode():
        x = desk.end(DPMSolverPP(), desk.grid(START), desk.start[:chains])
        x = x + 0.5 * random.normal(x, noise)
        t = desk.process.time(torch.full((chains,), 0.5, dtype=torch.float64).log() * -2)
        walk = LangevinGibbs(ETA, SKIP, BURN).walk(
            desk.process, desk.denoise, Link(x, t), levels, times, noise
        )
        found = [
            denoised(Heun(), desk.process, desk.denoise, link, STEPS, noise)
            for link, _ in zip(walk, range(LINKS), strict=False)
        ]
    return torch.cat(found)


def trial(given: Trial) -> Mapping[str, Measured]:
    """Chains with the exact law of the level and with the learned one, against Heun's method."""
    from sfumato import random
    from sfumato_eval.systems.desk import Desk
    from sfumato_methods.solvers import DPMSolverPP, Heun

    chains = max(8, round(CHAINS * given.scale))
    desk = Desk(given.seed, chains * LINKS)
    times, found = _table(desk), {}
    baseline = desk.distance(desk.end(Heun(), desk.grid(BASELINE)))
    for name in ("exact", "learned"):
        began = time.monotonic()
        if name == "exact":
            levels = exact_levels(desk, times)
        else:
            steps = max(50, round(TRAINING * given.scale))
            levels = trained(desk, times, random.derive(given.seed, "classifier"), steps)
        distance = desk.distance(chained(desk, levels, times, chains))
        cost = time.monotonic() - began
        found[name] = Measured(distance, baseline, desk.floor, chains * LINKS, cost)
    # no claim of the paper, which knew no such solver: what it would have to beat today
    today = desk.distance(desk.end(DPMSolverPP(), desk.grid(TODAY)))
    found["today"] = Measured(found["exact"].method, today, desk.floor, chains * LINKS, 0.0)
    return found


system = System(
    id="dmcmc",
    title="Denoising MCMC for Accelerating Diffusion-Based Generative Models",
    source="Kim & Ye 2022, arXiv:2209.14593",
    components=("edm", "karras", "heun", "dpmpp-2m", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim(
            "chains with the exact law of the level: closer to the data than Heun at equal calls",
            "exact",
            at_most=0.4,
        ),
        Claim("chains with a learned classifier of the level: likewise", "learned", at_most=0.4),
    ),
)
