"""Where to Diffuse, How to Diffuse, and How to Get Back: learning multivariate diffusions.

Singhal, Goldstein & Ranganath 2023, arXiv:2302.07261. The headline is that a linear diffusion with
helper variables can be learned through the bound, and is then as good as the best fixed one. Here:
the largest relative difference of the automatic transition to the closed forms of VP, and on 8 x 8
digits the variational bound in bits a number, in few equal steps of time, of a learned diffusion
over that of the best of three fixed ones, all trained by this bound in equally many steps.

What u_t says of x_0 is one statistic with one SNR, so that with equal denoisers the bound depends
on the SNR at the times of the grid alone: what is learned is, in effect, where the grid lies.
"""

from __future__ import annotations

__all__ = ["system"]

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from .desk8 import Digits8

STEPS, GRID, DRAWS = 400, 24, 2
"""Optimiser steps, steps of the bound, and draws of each held-out digit."""
LEVELS = 17


def transition_error() -> float:
    """Largest relative difference of the automatic transition to VP's, over times and steps."""
    import torch

    from sfumato_methods.gaussian import MatrixDiffusion, vp

    automatic = MatrixDiffusion([[math.sqrt(0.5)]], [[0.0]], [1.0], [], (0.1, 20.0))
    closed = vp()
    t = torch.tensor([1e-4, 1e-2, 0.1, 0.3, 0.6, 1.0], dtype=torch.float64)
    a, factor = automatic.moments(t)
    pairs = [(a[:, 0], closed.alpha(t)), (factor[:, 0, 0], closed.sigma(t))]
    one, zero = torch.ones(6, 1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64)
    law = closed.bridge(one, zero, t, 0.7 * t)
    data, _, std = automatic.step(t, 0.7 * t)
    pairs += [(data[:, 0], law.mean[:, 0]), (std[:, 0, 0], law.std[:, 0])]
    return max(float((got / want - 1).abs().max()) for got, want in pairs)


def bound(digits: Digits8, process: Any, steps: int, draws: int) -> float:
    """Bits a number of the held-out digits under a diffusion and a network trained by the bound."""
    import torch
    from torch import nn

    from sfumato import Normal, Preconditioned, elbo, expand, kl, random
    from sfumato_methods.gaussian import Observing

    from .desk8 import Network

    scale, grid = digits.sigma_data, torch.linspace(1, 0, GRID + 1, dtype=torch.float64)

    class Spread(Preconditioned):
        """A normal posterior whose width is that of normal data, times a learned power law."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.width = nn.Parameter(torch.tensor([-0.5, 0.0], dtype=torch.float64))

        def forward(self, x: Any, t: Any) -> Any:
            view: Any = self.process
            alpha, sigma = view.alpha(t), view.sigma(t)
            plain = scale * sigma / (sigma.square() + (scale * alpha).square()).sqrt()
            std = plain * torch.exp(self.width[0] + self.width[1] * self.process.clock(t))
            return Normal(super().forward(x, t).mean, expand(x, std))

    net = Network(random.derive(digits.seed, "network"))
    denoiser = Observing(Spread(net, process.observed, "edm", sigma_data=scale), process)

    def noisy(x0: Tensor, generator: Generator) -> Tensor:
        """Grey levels spread over their width, in [-1, 1]."""
        level = ((x0.double() + 1) * 8).round()
        dither = random.uniform(x0.shape, generator)
        return (level + dither) * (2 / LEVELS) - 1

    def loss(x0: Tensor, generator: Generator) -> Tensor:
        x0, last = noisy(x0, generator), len(x0) // 4
        place = random.integers(0, GRID - 1, (len(x0) - last,), generator)
        some, rest = x0[last:], x0[:last]
        t, s = grid[place], grid[place + 1]
        u = process.marginal(some, t).sample(generator)
        back = process.transition(denoiser(u, t), u, t, s)
        inner = kl(process.bridge(some, u, t, s), back).mean() * (GRID - 1)
        t = grid[-2].expand(last)
        u = process.marginal(rest, t).sample(generator)
        ending = process.transition(denoiser(u, t), u, t, torch.zeros_like(t)).nll(rest).mean()
        start = kl(process.marginal(x0, grid[0]), process.prior(x0)).mean()
        total: Tensor = (inner + ending + start) / x0[0].numel()
        return total

    digits.fit(denoiser, loss, steps)
    generator = random.derive(digits.seed, "bound")
    with torch.no_grad():
        nats = [
            elbo(process, denoiser, noisy(digits.held, generator), grid, generator).mean()
            for _ in range(draws)
        ]
    each = float(torch.stack(nats).mean()) / digits.held[0].numel()
    return (each + math.log(LEVELS / 2)) / math.log(2)


def trial(given: Trial) -> Mapping[str, Measured]:
    """The transition, and learned against fixed diffusions."""
    from sfumato_methods.gaussian import MatrixDiffusion, alda, cld, malda

    from .desk8 import Digits8

    began = time.monotonic()
    error = transition_error()
    found = {"transition": Measured(error, 1.0, None, 24, time.monotonic() - began)}
    digits, steps = Digits8(given.seed), max(20, math.ceil(STEPS * given.scale))
    draws = max(1, round(DRAWS * given.scale))
    fixed = {}
    for name, make in (("cld", cld), ("alda", alda), ("malda", malda)):
        fixed[name] = bound(digits, make(), steps, draws)
    learned = MatrixDiffusion(
        [[0.3, 0], [0, 1]], [[0, -1], [1, 0]], [1, 0.25], [0.01], (4, 4), learn=True
    )
    began, n = time.monotonic(), draws * len(digits.held)
    ours = bound(digits, learned, steps, draws)
    cost = time.monotonic() - began
    found["learned"] = Measured(ours, min(fixed.values()), None, n, cost)
    for name, value in fixed.items():
        found[f"learned-{name}"] = Measured(ours, value, None, n, cost)
    return found


system = System(
    id="mdm",
    title=(
        "Where to Diffuse, How to Diffuse, and How to Get Back: Automated Learning for "
        "Multivariate Diffusions"
    ),
    source="Singhal, Goldstein & Ranganath 2023, arXiv:2302.07261",
    components=("cld", "alda", "malda", "digits8"),
    trial=trial,
    claims=(
        Claim("the automatic transition is that of VP, to 1e-8", "transition", at_most=1e-8),
        Claim(
            "the bound of a learned diffusion is no worse than the best fixed",
            "learned",
            at_most=1.0,
        ),
    ),
)
