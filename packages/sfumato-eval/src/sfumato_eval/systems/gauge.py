"""On gauge freedom, conservativity and intrinsic dimensionality estimation in diffusion models.

Horvat & Pfister 2024, arXiv:2402.03845. The headline is that a field need not be conservative for
exact samples and densities, while for the local dimension of the data it had better be. Here on a
normal law on a plane of 3 dimensions in 10, turned at random, of standard deviation 1 along it and
0.01 across: to the exact score a field r = J grad h + h J grad log p_t is added, with J in the
plane and h = 2 cos(w.x / sigma), w a unit vector that J turns. Samples and densities are those of
the probability flow with r and without; dimensions, at sigma = 0.05, are those of singular values
of the field near 200 data points. The projection is a network's gradient, regressed on the field
with r.
"""

from __future__ import annotations

__all__ = ["Plane", "energy", "system"]

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

SPACE, DIMENSION, OFF = 10, 3, 0.01
LEVEL = 0.05
"""Noise level that dimensions are taken at."""
HEIGHT = 2.0
N, STEPS, LOWEST = 4000, 200, 0.005
"""Samples, and the grid of their flow."""
NEAR, DRAWS = 200, 100
"""Data points whose dimension is told, and draws about each."""
EXACT = 100
"""Items whose density is computed."""
TRAINING, BATCH, RATE = 800, 512, 3e-3


class Plane:
    """The law, its exact denoiser, the field r, and the denoiser with it, functions of a seed."""

    def __init__(self, seed: int) -> None:
        import torch

        from sfumato import random
        from sfumato_methods.gaussian import edm
        from sfumato_methods.measures.gauge import Gauged, score_field, skew_field
        from sfumato_testing import FullMixture

        like = torch.empty(SPACE, SPACE, dtype=torch.float64)
        turn, _ = torch.linalg.qr(random.normal(like, random.derive(seed, "turn")))
        widths = torch.tensor([1.0] * DIMENSION + [OFF] * (SPACE - DIMENSION), dtype=torch.float64)
        self.process = edm()
        self.target = FullMixture(like.new_zeros(1, SPACE), (turn * widths.square() @ turn.T)[None])
        self.denoise = self.target.denoiser(self.process)
        self.score = score_field(self.process, self.denoise)
        axis, skew = turn[:, 0], torch.outer(turn[:, 0], turn[:, 1])

        def height(x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = HEIGHT * torch.cos(x @ axis / self.process.sigma(t))
            return found

        self.r = skew_field(skew - skew.T, height, self.score)
        self.gauged = Gauged(self.denoise, self.process, self.r)
        self.time = self.process.time(torch.tensor(-2 * math.log(LEVEL), dtype=torch.float64))

    def noised(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draws of p_t at `LEVEL`, and their times."""
        many = self.time.expand(n)
        x: Tensor = self.process.marginal(self.target.sample(n, generator), many).sample(generator)
        return x, many

    def field(self, x: Tensor, t: Tensor) -> Tensor:
        """The score with r."""
        found: Tensor = self.score(x, t) + self.r(x, t)
        return found


def energy(generator: Generator) -> nn.Module:
    """A scalar network of (x, clock) for one noise level, its first weights drawn."""
    import torch
    from torch import nn

    from sfumato import random

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(SPACE, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1)
            ).double()

        def forward(self, x: Tensor, clock: Tensor) -> Tensor:
            found: Tensor = self.body(x / LEVEL)
            return found

    net = Net()
    with torch.no_grad():
        for weight in net.parameters():
            fan = weight.shape[-1] if weight.ndim > 1 else 1
            weight.copy_(random.normal(weight, generator) * (fan**-0.5 if weight.ndim > 1 else 0))
    return net


def trial(given: Trial) -> Mapping[str, Measured]:
    """Samples, densities and dimensions with r and without, and after projection."""
    import torch

    from sfumato import Batch, random, run
    from sfumato_eval.sliced import SlicedWasserstein
    from sfumato_methods.grids import logsnr
    from sfumato_methods.measures import log_likelihood
    from sfumato_methods.measures.dimension import svd_dimension
    from sfumato_methods.measures.gauge import Gauged, Potential, fit_potential, gauge_residual
    from sfumato_methods.solvers import ChurnHeun

    plane, seed = Plane(given.seed), given.seed
    process, target = plane.process, plane.target
    found: dict[str, Measured] = {}

    x, many = plane.noised(EXACT, random.derive(seed, "noised"))
    residual = gauge_residual(plane.r, plane.score, x, many).abs()
    size = plane.r(x, many).norm(dim=1)
    ratio = float(residual.max() / (size.median() / LEVEL))
    found["residual"] = Measured(ratio, 1.0, None, EXACT, 0.0)
    share = float((size / plane.score(x, many).norm(dim=1)).median())
    found["size"] = Measured(share, 1.0, None, EXACT, 0.0)  # no claim: how large r is

    n, metric = max(200, round(N * given.scale)), SlicedWasserstein(directions=128)
    data, other = (
        metric.summary(Batch(target.sample(n, random.derive(seed, name))))
        for name in ("data", "other")
    )
    floor = metric.between(other, data).value
    start = process.prior(x[:1].expand(n, -1)).sample(random.derive(seed, "start"))
    grid = logsnr(process, STEPS, sigma_min=LOWEST)
    began, far = time.monotonic(), []
    for denoise in (plane.denoise, plane.gauged):
        with torch.inference_mode():
            for frame in run(ChurnHeun(0.0), process, denoise, start, grid, torch.Generator()):
                end = frame.after
        far.append(metric.between(metric.summary(Batch(end.clone())), data).value)
    cost = time.monotonic() - began
    found["samples"] = Measured(abs(far[1] - far[0]), floor, floor, n, cost)
    found["gauged"] = Measured(far[1], floor, floor, n, cost)  # no claim: the floor varies too

    began = time.monotonic()
    up = logsnr(process, STEPS, sigma_min=LEVEL).flip(0)[1:]
    told = log_likelihood(process, plane.gauged, x, up).value
    gap = (told - target.log_density(process, x, plane.time)).square().mean().sqrt()
    found["density"] = Measured(float(gap), 1.0, None, EXACT, time.monotonic() - began)

    began = time.monotonic()
    potential = Potential(energy(random.derive(seed, "weights")), process)
    fit_potential(
        potential,
        plane.field,
        lambda generator: plane.noised(BATCH, generator),
        max(300, round(TRAINING * given.scale)),
        random.derive(seed, "fit"),
        RATE,
    )
    conservative = Gauged(plane.denoise, process, lambda x, t: potential(x, t) - plane.score(x, t))
    x0 = target.sample(NEAR, random.derive(seed, "near"))

    def right(denoise: Any) -> float:
        noise = random.derive(seed, "dimension")
        told = svd_dimension(process, denoise, x0, plane.time, DRAWS, noise)
        return float((told == DIMENSION).double().mean())

    shares = [right(each) for each in (plane.denoise, plane.gauged, conservative)]
    cost = time.monotonic() - began
    found["right"] = Measured(shares[0], 1.0, None, NEAR, cost)
    found["wrong"] = Measured(1 - shares[1], 1.0, None, NEAR, cost)
    found["restored"] = Measured(shares[2], 1.0, None, NEAR, cost)
    return found


system = System(
    id="gauge",
    title=(
        "On gauge freedom, conservativity and intrinsic dimensionality estimation in diffusion "
        "models"
    ),
    source="Horvat & Pfister 2024, arXiv:2402.03845",
    components=("edm", "logsnr", "churn", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim("div r + r.grad log p is zero, relative to r / sigma", "residual", at_most=1e-10),
        Claim("with r samples are as far from the data as without, within the floor", "samples",
              at_most=1.0),
        Claim("log densities of the field with r are exact, nats", "density", at_most=0.01),
        Claim("the exact score has the right dimension: share of points", "right", at_least=0.9),
        Claim("with r the dimension is wrong: share of points", "wrong", at_least=0.9),
        Claim("after projection it is right again: share of points", "restored", at_least=0.9),
    ),
)  # fmt: skip
