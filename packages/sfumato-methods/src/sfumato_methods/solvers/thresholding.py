"""Thresholding: posterior means kept within the range of the data."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from sfumato import Denoiser, Dirac, InputError
from sfumato.state import Time, items

__all__ = ["Thresholded"]


class Thresholded(Denoiser):
    """Dynamic thresholding: x_0 clamped to [-c, c] and scaled by limit/c, item by item.

    c is the quantile of |x_0| over the numbers of an item, but at least `limit` (Saharia et al.
    2022, arXiv:2205.11487, section 2.3). With quantile 1 and data within the limit nothing changes.
    For pixels; data without a range must not be cut.

    Args:
        denoiser: the denoiser whose means are cut; states are tensors.
        quantile: in (0, 1].
        limit: the data lies in [-limit, limit].

    Raises:
        InputError: for a quantile or a limit out of range, or a state that is no tensor.
    """

    def __init__(self, denoiser: Denoiser, quantile: float = 0.995, limit: float = 1.0) -> None:
        super().__init__()
        if not 0 < quantile <= 1:
            raise InputError(f"Thresholded: quantile must lie in (0, 1], but is {quantile}")
        if not 0 < limit < math.inf:
            raise InputError(f"Thresholded: limit must be positive, but is {limit}")
        self.denoiser = denoiser
        self.quantile = quantile
        self.limit = limit

    def given(self, **condition: Any) -> Self:
        return type(self)(self.denoiser.given(**condition), self.quantile, self.limit)

    def forward(self, x: Any, t: Time) -> Dirac:
        mean = self.denoiser(x, t).mean
        if not isinstance(mean, Tensor):
            raise InputError(
                f"Thresholded needs a state that is one tensor, but got a {type(mean).__name__}"
            )
        if mean.numel() == 0:
            return Dirac(mean)
        cut = _quantile(mean.detach().abs().reshape(items(mean), -1), self.quantile)
        cut = cut.clamp_min(self.limit).reshape(-1, *(1 for _ in mean.shape[1:]))
        return Dirac(torch.clamp(mean, -cut, cut) * (self.limit / cut))


def _quantile(values: Tensor, q: float) -> Tensor:
    """(B,) the quantile of each row, linear between ranks; from its largest values alone."""
    place = q * (values.shape[1] - 1)
    rank = math.floor(place)
    largest = values.topk(values.shape[1] - rank, dim=1, sorted=True).values
    low, high = largest[:, -1], largest[:, max(-2, -largest.shape[1])]
    return torch.lerp(low, high, place - rank)
