"""Bits per dimension: likelihoods on a scale that does not depend on the units of the data."""

from __future__ import annotations

__all__ = ["bits_per_dim", "dequantise"]

import math
from typing import Any

import torch
from torch import Generator, Tensor

from sfumato import InputError, random
from sfumato.state import apply


def bits_per_dim(nll: Tensor, dimensions: float | Tensor, step: float | None = None) -> Tensor:
    """Bits per dimension of items, from nats per item.

    For discrete data nll = -log P(x), and the result is nll / (D log 2). A density p of quantised
    data says nothing until it is told the distance `step` between neighbouring levels, for
    P(x) = integral of p over the cell of x, which is step^D wide: the result is
    (nll / D - log step) / log 2, which averaged over `dequantise`d items is an upper bound on the
    bits of the discrete data (Theis et al. 2016, arXiv:1511.01844, section 3.1).

    `step` is in the units of the state whose density nll is. Images of 256 levels scaled to
    [-1, 1] have step 2/255, scaled to [0, 1] step 1/255; where a codec divided the data by a scale
    c, the step is divided by c as well. This is the Jacobian of the scaling: left out, rescaling
    the data would change the bits.

    Args:
        nll: (B,) nats per item, as of `Law.nll` or `elbo`.
        dimensions: D, numbers in an item, or (B,) of them (`sfumato.state.item_count`).
        step: distance between levels; None where nll is of discrete data.

    Returns:
        (B,) float64.

    Raises:
        InputError: if a number of dimensions or the step is not positive and finite.
    """
    count = torch.as_tensor(dimensions, dtype=torch.float64)
    if not bool((count > 0).all()) or not bool(count.isfinite().all()):
        raise InputError(f"bits per dimension need D > 0 in each item, not {dimensions}")
    if step is not None and not 0 < step < math.inf:
        raise InputError(f"the distance between levels must be positive, not step={step}")
    nats = nll.double() / count.to(nll.device)
    return (nats - math.log(step or 1)) / math.log(2)


def dequantise(x: Any, step: float, generator: Generator) -> Any:
    """A floating state on levels `step` apart, each number moved uniformly within its cell.

    The cell of a level reaches half a step to both sides.
    """

    def moved(value: Tensor) -> Tensor:
        noise = random.uniform(value.shape, generator).to(value)
        return value + step * (noise - 0.5)

    return apply(x, moved)
