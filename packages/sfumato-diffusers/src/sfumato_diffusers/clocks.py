"""Clocks: what a network of diffusers is told at a noise level, and the way back.

The noise level is l = log(sigma/alpha), which is all that a network depends on; which process
leads there, and at which of its times, does not matter to it.
"""

from __future__ import annotations

__all__ = ["Clock", "Indices", "Quarter", "Share"]

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_MILLIONTH = 6  # decimals of an index that are told


class Clock(Protocol):
    """A map between noise levels log(sigma/alpha) and timesteps, both float64 of any shape."""

    def timestep(self, level: Tensor) -> Tensor:
        """What the network is told."""

    def level(self, timestep: Tensor) -> Tensor:
        """The noise level at which it is told this."""


class Indices:
    """Indices 0..T-1 into the table of a discrete chain, linear in log(sigma/alpha) between.

    At an entry of the table the index is exact; other indices are rounded to a millionth. Below
    the first entry the index is 0. Where the last entry has no signal left (zero terminal SNR),
    the last cell is linear in alpha instead.

    Args:
        alpha_bar: (T,) alpha^2 of the chain, descending, the last one may be 0.
    """

    def __init__(self, alpha_bar: Tensor) -> None:
        alpha_bar = alpha_bar.detach().double().cpu()
        self._levels = 0.5 * (torch.log1p(-alpha_bar) - alpha_bar.log())
        self._before = float(alpha_bar[-2].sqrt()) if alpha_bar[-1] == 0 else None

    @property
    def steps(self) -> int:
        """Number T of entries."""
        return len(self._levels)

    def timestep(self, level: Tensor) -> Tensor:
        table, last = self._levels.to(level.device), self.steps - 1
        low = (torch.searchsorted(table, level.contiguous(), right=True) - 1).clamp(0, last - 1)
        start = table[low]
        share = ((level - start) / (table[low + 1] - start)).clamp(0, 1)
        if self._before is not None:
            alpha = torch.sigmoid(-2 * level).sqrt()
            share = torch.where(low == last - 1, (1 - alpha / self._before).clamp(0, 1), share)
        return (low + share).round(decimals=_MILLIONTH)

    def level(self, timestep: Tensor) -> Tensor:
        table, last = self._levels.to(timestep.device), self.steps - 1
        low = timestep.double().floor().long().clamp(0, last - 1)
        share = timestep.double() - low
        found = table[low].lerp(table[low + 1], share)
        if self._before is not None:
            alpha = (1 - share) * self._before
            found = torch.where(low == last - 1, -torch.logit(alpha.square()) / 2, found)
        return torch.where(share == 0, table[low], found)


@dataclass(frozen=True)
class Share:
    """The share of noise sigma/(alpha + sigma), times `steps`: flow matching."""

    steps: int

    def timestep(self, level: Tensor) -> Tensor:
        return self.steps * torch.sigmoid(level)

    def level(self, timestep: Tensor) -> Tensor:
        return torch.logit(timestep.double() / self.steps)


@dataclass(frozen=True)
class Quarter:
    """log(sigma/alpha)/4 (Karras et al. 2022, arXiv:2206.00364, table 1)."""

    def timestep(self, level: Tensor) -> Tensor:
        return level / 4

    def level(self, timestep: Tensor) -> Tensor:
        return timestep.double() * 4
