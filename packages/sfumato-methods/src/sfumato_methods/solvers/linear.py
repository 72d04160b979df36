"""What stochastic solvers share: noise and its sources, inner products, planned combinations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sfumato import Streams, random
from sfumato.sampling import Point
from sfumato.state import apply, item_sum, scale

from ..terms import plus
from .affine import half_logsnr

__all__ = ["Seeds", "absent", "combine", "drawn", "gram", "inner", "noise", "paces", "source"]

Seeds: TypeAlias = tuple[int, ...] | int
"""One seed for a whole batch, or one for each item."""


def drawn(generator: random.Source) -> Seeds:
    """Seeds drawn from a source: one for each item where it is `Streams`."""
    if isinstance(generator, Streams):
        return tuple(int(random.integers(0, 2**62, (), g)) for g in generator)
    return int(random.integers(0, 2**62, (), generator))


def source(seeds: Seeds, *place: str | int) -> random.Source:
    """What to draw from at a place: a function of the seeds and the place alone."""
    if isinstance(seeds, tuple):
        return Streams(random.derive(seed, *place) for seed in seeds)
    return random.derive(seeds, *place)


def paces(process: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Which steps are finite in log-SNR, and each step there relative to the one before.

    The ratio is 0 where either of the two is no step or is not finite: there is no slope to use.
    """
    steps = half_logsnr(process, grid)
    usable, h = steps.usable, steps.h
    ratio = torch.where(usable[1:] & usable[:-1], h[1:] / h[:-1], 0.0)
    return usable, torch.cat([torch.zeros_like(h[:1]), ratio])


def noise(process: Any, like: Any, generator: random.Source) -> Any:
    """Standard normal noise in the space of the process."""
    space = getattr(process, "space", None)
    return random.normal(like, generator) if space is None else space.normal(like, generator)


def inner(a: Any, b: Any) -> Any:
    """(B,) inner product of two states, item by item, in float64."""
    if isinstance(a, Tensor) and a.ndim > 1:  # the common case, spared the dispatch
        return torch.linalg.vecdot(a.flatten(1).double(), b.flatten(1).double())
    return item_sum(apply(a, lambda u, v: u.double() * v.double(), b))


def gram(a: Any, b: Any) -> Tensor:
    """(B, 2, 2) inner products of two states of one layout, item by item, in float64."""
    if isinstance(a, Tensor) and a.ndim > 1:  # the common case, in one product
        pair = torch.stack([a, b], 1).flatten(2).double()
        return torch.bmm(pair, pair.mT)
    both = inner(a, b)
    return torch.stack([inner(a, a), both, both, inner(b, b)], -1).reshape(-1, 2, 2)


def combine(row: Any, process: Any, past: Sequence[Point], generator: random.Source) -> Any:
    """The state keep x + w_0 D + w_1 D_before + ... + std n; a row is (keep, std, w_0, w_1, ...).

    D are posterior means, the newest first. What a float 0 would multiply is left out, the noise
    with it.
    """
    keep, std, newest, *older = row
    now = past[-1]
    x = plus(newest, now.posterior.mean, scale(keep, now.x))
    for weight, point in zip(older, islice(reversed(past), 1, None), strict=False):
        x = plus(weight, point.posterior.mean, x)
    return x if absent(std) else plus(std, noise(process, x, generator), x)


def absent(c: Any) -> bool:
    """Whether a planned coefficient is the float 0: what it would multiply can be left out."""
    return isinstance(c, float) and c == 0
