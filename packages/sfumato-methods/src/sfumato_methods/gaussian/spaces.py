"""Subspaces that Gaussian noise may live in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Padded, Ragged, random

__all__ = ["Centred"]


@dataclass(frozen=True)
class Centred:
    """Point sets with zero centre of mass (Hoogeboom et al. 2022, arXiv:2203.17003).

    States are `Ragged` rows of coordinates (N, D), `Padded` ones (B, L, D), or tensors (B, ..., D)
    of as many points in each item: of trajectories (B, N, F, D) the mean is over points and frames
    (Han et al. 2024, arXiv:2410.13027).
    """

    def normal(self, like: Any, generator: random.Source) -> Any:
        """Standard normal noise with its mean point removed."""
        return self.project(random.normal(like, generator))

    def project(self, x: Any) -> Any:
        """Points minus their mean, item by item; padded places become 0."""
        match x:
            case Ragged(data, owner, count):
                total = data.new_zeros(count, data.shape[1]).index_add(0, owner, data)
                mean = total / x.counts.clamp_min(1)[:, None].to(data)
                return Ragged(data - mean[owner], owner, count)
            case Padded(data, mask):
                valid = mask[..., None].to(data)
                mean = (data * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp_min(1)
                return Padded((data - mean) * valid, mask)
            case Tensor() if x.ndim >= 3:
                return x - x.mean(tuple(range(1, x.ndim - 1)), keepdim=True)
            case _:
                raise InputError(
                    f"Centred takes Ragged or Padded points or tensors (B, ..., D), not "
                    f"{type(x).__name__}"
                )

    def dims(self, x: Any) -> Tensor:
        """(B,) number of free coordinates: (points - 1) D."""
        if isinstance(x, Tensor):
            return x.new_full((len(x),), x[0].numel() - x.shape[-1], dtype=torch.float64)
        points = x.counts if isinstance(x, Ragged) else x.mask.sum(1)
        free: Tensor = (points - 1).clamp_min(0) * x.data.shape[-1]
        return free.double()
