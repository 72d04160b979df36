"""Align Your Steps: levels that minimise an upper bound on what discretisation loses.

Sabour et al. 2024, arXiv:2404.14507. In x = x_0 + r n with r = sigma/alpha, a solver that holds the
denoiser D on each step from level b down to level a loses at most (Girsanov; eq. 10, a constant
factor dropped)

    KLUB = sum over steps of the integral from a to b of r^-3 E |D(x_r, r) - D(x_b, b)|^2 dr

where x_b = x_r + (b^2 - r^2)^(1/2) n lies on the same noising path as x_r.
"""

from __future__ import annotations

__all__ = ["align", "klub"]

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from sfumato import Process, random
from sfumato.sampling import Denoise
from sfumato.state import apply, axpy, expand, item_sum, items, scale

from .fixed import affine, counted, span
from .levels import Levels

Cost = Callable[[float, float], float]
"""The bound on one step, from a level and the next one down."""


def align(
    process: Process,
    denoiser: Denoise,
    x0: Any,
    steps: int = 10,
    *,
    generator: Generator,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    sweeps: int = 8,
    candidates: int = 11,
) -> Levels:
    """Levels that minimise the bound, found by sweeps over one level at a time.

    The search begins on equal steps of the logarithm. Its ends stay: the bound would spend all
    levels near the data. For 2 N steps and more, N are aligned first, then halved and aligned again
    (section 4).

    Args:
        process: needs AFFINE, with Gaussian noise.
        denoiser: the model, or the exact denoiser.
        x0: clean states; as many noising paths are followed, the same for all levels.
        steps: number of steps.
        generator: of the noise.
        sigma_min: last level, as sigma/alpha.
        sigma_max: first level, capped by what the process reaches.
        sweeps: most sweeps over all levels; it ends early where none moves.
        candidates: levels tried between the neighbours of one.

    Raises:
        InputError: if steps is not positive or the range of levels is empty.
    """
    low, high = span(affine(process, "align"), sigma_min, sigma_max)
    halvings = max(0, int(math.log2(counted(steps) / 10)))
    cost = klub(process, denoiser, x0, generator)
    count = math.ceil(steps / 2**halvings)
    log = torch.linspace(math.log(high), math.log(low), count + 1, dtype=torch.float64).tolist()
    for halving in range(halvings + 1):
        if halving:
            between = [0.5 * (a + b) for a, b in zip(log, log[1:], strict=False)]
            log = [v for pair in zip(log, between, strict=False) for v in pair] + log[-1:]
        log = _swept(log, cost, sweeps, candidates)
    made = Levels(tuple(math.exp(v) for v in log))
    if made.steps == steps:
        return made
    return Levels((*made.at(steps).tolist(), made.levels[-1]))


def klub(process: Process, denoiser: Denoise, x0: Any, generator: Generator) -> Cost:
    """The bound on a step from level b down to level a, a function of (b, a), by common draws.

    The levels between are stratified over the items of `x0`, equally in the logarithm.
    """
    own: Any = process
    count = items(x0)
    first, second = random.normal(x0, generator), random.normal(x0, generator)
    order = random.permutation(count, generator).double()
    share = (order + random.uniform((count,), generator).double()) / count

    def denoised(y: Any, level: Tensor) -> Any:
        t = own.time(-2 * level.log())
        return denoiser(scale(expand(y, own.alpha(t)), y), t).mean

    @torch.inference_mode()
    def cost(b: float, a: float) -> float:
        top, length = torch.tensor(b, dtype=torch.float64), math.log(b / a)
        level = (math.log(a) + length * share).exp()
        y = axpy(expand(x0, level), first, x0)
        gap = (b * b - level.square()).clamp_min(0).sqrt()
        moved = denoised(y, level) - denoised(axpy(expand(y, gap), second, y), top)
        far = item_sum(apply(moved, torch.square)).double().cpu()
        return length * float((far / level.square()).mean())

    return cost


def _swept(log: list[float], cost: Cost, sweeps: int, candidates: int) -> list[float]:
    """The levels after sweeps over the inner ones; a level touches the cost of two steps only."""
    log = list(log)
    for _ in range(sweeps):
        before = list(log)
        for i in range(1, len(log) - 1):
            above, below = log[i - 1], log[i + 1]
            tries = torch.linspace(above, below, candidates + 2, dtype=torch.float64).tolist()[1:-1]
            costs = {v: _pair(cost, above, v, below) for v in (log[i], *tries)}
            log[i] = min(costs, key=costs.__getitem__)
        if log == before:
            break
    return log


def _pair(cost: Cost, above: float, level: float, below: float) -> float:
    b, c, a = math.exp(above), math.exp(level), math.exp(below)
    return cost(b, c) + cost(c, a)
