"""How long tokens are kept: published schedules, with their slope and inverse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["CosineKeep", "D3PMCosineKeep", "Keep", "LinearKeep"]


class Keep(Protocol):
    """Probability a(t) that a token has not been resampled by time t: 1 at t = 0, 0 at t = 1."""

    def __call__(self, t: Tensor) -> Tensor:
        """a(t); float64 to float64, as for the other two."""

    def slope(self, t: Tensor) -> Tensor:
        """da/dt, not positive."""

    def inverse(self, a: Tensor) -> Tensor:
        """The time t at which a(t) is `a`."""


@dataclass(frozen=True)
class LinearKeep:
    """1 - t: the log-linear noise of Lou et al. 2023, arXiv:2310.16834.

    In T steps it is the schedule 1/(T - t + 1) of Austin et al. 2021, arXiv:2107.03006.
    """

    def __call__(self, t: Tensor) -> Tensor:
        return 1 - t

    def slope(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def inverse(self, a: Tensor) -> Tensor:
        return 1 - a


@dataclass(frozen=True)
class CosineKeep:
    """1 - cos(pi/2 (1 - t)) (Sahoo et al. 2024, arXiv:2406.07524, appendix E.1)."""

    def __call__(self, t: Tensor) -> Tensor:
        return 2 * torch.sin(0.25 * torch.pi * (1 - t)).square()

    def slope(self, t: Tensor) -> Tensor:
        return -0.5 * torch.pi * torch.sin(0.5 * torch.pi * (1 - t))

    def inverse(self, a: Tensor) -> Tensor:
        return 1 - 4 / torch.pi * torch.asin((0.5 * a).sqrt())


_SHIFT = 0.008


@dataclass(frozen=True)
class D3PMCosineKeep:
    """cos(pi/2 (t + c)/(1 + c)) / cos(pi/2 c/(1 + c)), c = 0.008.

    The schedule of uniform noise of Austin et al. 2021, arXiv:2107.03006, appendix A.2 (after
    Hoogeboom et al. 2021, arXiv:2102.05379).
    """

    def __call__(self, t: Tensor) -> Tensor:
        # sin of the distance to the end, so that nothing is left at t = 1
        return torch.sin(_TURN * (1 - t)) / math.sin(_TURN)

    def slope(self, t: Tensor) -> Tensor:
        return -_TURN * torch.cos(_TURN * (1 - t)) / math.sin(_TURN)

    def inverse(self, a: Tensor) -> Tensor:
        return 1 - torch.asin((a * math.sin(_TURN)).clamp(max=1)) / _TURN


_TURN = 0.5 * math.pi / (1 + _SHIFT)
