"""Which noise levels are trained on: laws of t, drawn by inverse CDF of stratified uniforms.

A time sampler maps (process, u), with u uniform on [0, 1), to times in (0, 1). Times stay where
the clock of the process is not clamped, so that sigma > 0 and every weight is finite.
"""

from __future__ import annotations

__all__ = [
    "Times", "between", "inside", "logit_normal", "lognormal", "stratified", "uniform",
]  # fmt: skip

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor

from sfumato import Can, InputError, Process, Unsupported, random
from sfumato.process import CLOCK_LIMIT

Times: TypeAlias = Callable[[Process, Tensor], Tensor]


def stratified(count: int, generator: Generator) -> Tensor:
    """(count,) uniforms on [0, 1), float64, one in each of `count` equal cells, in random order.

    One offset is shared by all cells (Kingma et al. 2021, arXiv:2107.00630, appendix I.1): each
    entry is uniform, and averages over the batch vary far less than with independent draws.
    """
    place = random.permutation(count, generator) + random.uniform((1,), generator)
    return place / count


def inside(process: Process, t: Tensor) -> Tensor:
    """Times moved to where log(sigma/alpha) lies in [-10, 10] (without AFFINE: logit t)."""
    ends = torch.tensor([2 * CLOCK_LIMIT, -2 * CLOCK_LIMIT], dtype=torch.float64, device=t.device)
    if Can.AFFINE in process.can:
        affine: Any = process
        low, high = affine.time(ends)
    else:
        low, high = (-0.5 * ends).sigmoid()
    return t.clamp(low, high)


def uniform(process: Process, u: Tensor) -> Tensor:
    """All times equally often."""
    return inside(process, u)


def between(low: float, high: float = 1.0) -> Times:
    """Uniform on [low, high]: for weights that grow without bound towards one end.

    Raises:
        InputError: unless 0 <= low < high <= 1.
    """
    if not 0 <= low < high <= 1:
        raise InputError(f"times lie in [0, 1] and low before high, not {low} and {high}")
    return lambda process, u: inside(process, low + (high - low) * u)


def logit_normal(process: Process, u: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """logit(t) ~ N(mean, std^2): the middle more often (Esser et al. 2024, arXiv:2403.03206)."""
    return inside(process, (mean + std * torch.special.ndtri(u)).sigmoid())


def lognormal(process: Process, u: Tensor, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """log(sigma/alpha) ~ N(mean, std^2) (Karras et al. 2022, arXiv:2206.00364, table 1).

    Raises:
        Unsupported: if the process is not AFFINE.
    """
    if Can.AFFINE not in process.can:
        raise Unsupported(
            f"lognormal times need AFFINE; {process} can {process.can.names()}. Use uniform"
        )
    affine: Any = process
    return inside(process, affine.time(-2 * (mean + std * torch.special.ndtri(u))))
