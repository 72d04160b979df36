"""The one noise schedule of diffusers that sfumato-methods does not hold."""

from __future__ import annotations

__all__ = ["ZeroTerminal", "schedule"]

import math

import torch
from torch import Tensor

from sfumato_methods.gaussian import Schedule, Table


class ZeroTerminal:
    """A discrete chain that ends in pure noise: alpha(1) = 0, alpha linear in the last cell.

    At the times i/T, i < T, it is the chain of the table, and log alpha is linear between them;
    alpha^2 + sigma^2 = 1 (Lin et al. 2023, arXiv:2305.08891).

    Args:
        log_alpha: (T - 1,) strictly decreasing, for i = 1..T-1; alpha is 0 at i = T.
    """

    def __init__(self, log_alpha: Tensor) -> None:
        self._chain = Table(log_alpha)
        self._last = float(log_alpha[-1])
        self.steps = self._chain.steps + 1
        """Number T of steps of the discrete chain."""

    def _before(self, t: Tensor) -> Tensor:
        """The time of the chain without its last cell."""
        return (t * self.steps / self._chain.steps).clamp_max(1)

    def _fade(self, t: Tensor) -> Tensor:
        """From 0, where the last cell begins, to 1 at t = 1."""
        return (t * self.steps - self._chain.steps).clamp(0, 1)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return self._chain.log_alpha(self._before(t)) + torch.log1p(-self._fade(t))

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data."""
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """Scale of the noise."""
        return (-torch.expm1(2 * self._log_alpha(t))).sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives (d alpha/dt, d sigma/dt)."""
        alpha = self.alpha(t)
        slope = self._chain.log_alpha_rate(self._before(t)) * self.steps / self._chain.steps
        last = -self.steps * math.exp(self._last)
        rate = torch.where(t * self.steps > self._chain.steps, last, alpha * slope)
        return rate, -alpha * rate / self.sigma(t)

    def logsnr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2)."""
        twice = 2 * self._log_alpha(t)
        return twice - (-torch.expm1(twice)).log()

    def time(self, logsnr: Tensor) -> Tensor:
        """Inverse of `logsnr`."""
        alpha = torch.sigmoid(logsnr.double()).sqrt()
        fade = (1 - alpha / math.exp(self._last)).clamp(0, 1)
        return (self._chain.time(logsnr) * self._chain.steps + fade) / self.steps

    def __repr__(self) -> str:
        return f"ZeroTerminal(steps={self.steps})"


def schedule(alpha_bar: Tensor) -> Schedule:
    """The chain with these alpha_bar_i, i = 1..T, descending; the last one may be 0."""
    log_alpha = 0.5 * alpha_bar.detach().double().cpu().log()
    return ZeroTerminal(log_alpha[:-1]) if alpha_bar[-1] == 0 else Table(log_alpha)
