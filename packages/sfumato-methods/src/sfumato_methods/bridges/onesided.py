"""Interpolants from noise: where the source is drawn anew, it and gamma are one normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato import InputError

__all__ = ["OneSided"]


@dataclass(frozen=True)
class OneSided:
    """alpha = 1 - t, sigma^2 = t^2 + variance t (1 - t): a schedule for `Gaussian`.

    The stochastic interpolant (1 - t) x_0 + t eps' + gamma(t) eps with a standard normal source and
    gamma^2 = variance t (1 - t) (Albergo, Boffi & Vanden-Eijnden 2023, arXiv:2303.08797, section
    5.1). A variance of 2 makes it variance preserving, 0 would be `Linear`.

    Raises:
        InputError: for a variance that is not positive.
    """

    variance: float = 2.0

    def __post_init__(self) -> None:
        if not self.variance > 0:
            raise InputError(f"OneSided: variance must be positive, but is {self.variance}")

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """(t^2 + variance t (1 - t))^(1/2)."""
        return (t * torch.lerp(torch.full_like(t, self.variance), torch.ones_like(t), t)).sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(-1, (t + variance (1/2 - t))/sigma)."""
        return -torch.ones_like(t), (t + self.variance * (0.5 - t)) / self.sigma(t)

    def logsnr(self, t: Tensor) -> Tensor:
        """2 log((1 - t)/sigma)."""
        return 2 * (torch.log1p(-t) - self.sigma(t).log())

    def time(self, logsnr: Tensor) -> Tensor:
        """Inverse of `logsnr`: with u = t/(1 - t), 1/SNR = u^2 + variance u."""
        inverse = (-logsnr.double()).exp().clamp_max(1e300)  # inf / inf is no time
        u = 2 * inverse / (self.variance + (self.variance**2 + 4 * inverse).sqrt())
        return u / (1 + u)
