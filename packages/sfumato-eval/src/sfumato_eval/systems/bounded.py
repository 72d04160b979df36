"""The desk of learned processes: small networks that are trained by a bound on the likelihood.

All arms of a trial are trained by the same lines, from the same weights, on the same data and the
same noise, for the same number of steps; then measured on the same draws of held-out data.
"""

from __future__ import annotations

__all__ = ["Net", "bound_of", "count", "fitted", "zeroed"]

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import random
from sfumato_methods.bounds import Bound
from sfumato_methods.learned import bend

FREQUENCIES = 8
STRAIGHTENED = 4
"""One item in so many is straightened, which costs as much as the bound of three."""
DRAWS = 2000
"""Items measured at a time."""


class Net(nn.Module):
    """A multilayer perceptron on all numbers of an item and cosines and sines of the clock.

    Args:
        dimensions: numbers in an item.
        width: hidden units of a layer.
        depth: hidden layers after the first, each a residual.
        generator: of the weights.
    """

    def __init__(self, dimensions: int, width: int, depth: int, generator: Generator) -> None:
        super().__init__()
        self.inward = nn.Linear(dimensions + 2 * FREQUENCIES, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.outward = nn.Linear(width, dimensions)
        with torch.no_grad():
            for weight in self.parameters():
                fan = weight.shape[-1]
                scale = fan**-0.5 if weight.ndim > 1 else 0.0
                weight.copy_(random.normal(weight, generator) * scale)

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        """Map x (B, ...) and the clock (B,) to the shape of x."""
        speed = torch.linspace(math.log(0.1), math.log(4), FREQUENCIES, device=x.device).exp()
        angle = clock[:, None] * speed
        told = torch.cat([x.flatten(1), angle.cos().to(x), angle.sin().to(x)], 1)
        h = nn.functional.silu(self.inward(told))
        for layer in self.layers:
            h = h + nn.functional.silu(layer(h))
        out: Tensor = self.outward(h).reshape(x.shape)
        return out


def zeroed(net: Net) -> Net:
    """The network with its last layer at zero, so that a process starts with nothing learned."""
    nn.init.zeros_(net.outward.weight)
    nn.init.zeros_(net.outward.bias)
    return net


def count(*modules: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def fitted(
    process: Any,
    denoiser: Any,
    bound: Bound,
    batches: Callable[[Generator], Tensor],
    steps: int,
    generator: Generator,
    *,
    lr: float = 2e-3,
    faster: float = 1.0,
    straight: float = 0.0,
) -> list[float]:
    """Train a process and a denoiser together by Adam with a cosine, on nats per number.

    Args:
        process: learned where it has parameters.
        denoiser: learned.
        bound: what is minimised.
        batches: draws a batch of data.
        steps: of the optimiser.
        generator: of data and noise.
        lr: peak learning rate.
        faster: factor of that of the process.
        straight: weight of `bend`, at times uniform on [0.01, 0.999].

    Returns:
        The loss of each step.
    """
    groups: Sequence[Any] = [
        {"params": list(m.parameters()), "lr": rate}
        for m, rate in ((denoiser, lr), (process, faster * lr))
        if list(m.parameters())
    ]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    learned = [p for group in groups for p in group["params"]]
    losses = []
    for _ in range(steps):
        x0 = batches(generator)
        u = (random.permutation(len(x0), generator) + random.uniform((1,), generator)) / len(x0)
        loss = bound(process, denoiser, x0, u, generator).total.mean() / x0[0].numel()
        if straight:
            few = x0[: len(x0) // STRAIGHTENED]
            t = random.uniform((len(few),), generator).clamp(1e-2, 1 - 1e-3)
            x = process.marginal(few, t).sample(generator)
            loss = loss + straight * bend(process, denoiser, x, t).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, 5.0)
        adam.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def bound_of(
    process: Any, denoiser: Any, bound: Bound, x0: Tensor, generator: Generator, times: int = 8
) -> Tensor:
    """(B,) nats of each item: the mean of so many draws of the bound, stratified in time."""
    with torch.no_grad():
        found = []
        for x in torch.split(x0, DRAWS):
            place = random.permutation(len(x), generator) + random.uniform((1,), generator)
            first = place / len(x)
            each = [
                bound(process, denoiser, x, (first + i / times) % 1, generator).total
                for i in range(times)
            ]
            found.append(torch.stack(each).mean(0))
        return torch.cat(found)
