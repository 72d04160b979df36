"""The one noise schedule of diffusers that sfumato-methods does not hold."""

from __future__ import annotations

__all__ = ["ZeroTerminal", "schedule"]

import torch
from torch import Tensor

from sfumato_methods.gaussian import Table


class ZeroTerminal(Table):
    """A discrete chain that ends in pure noise: alpha(1) = 0, alpha linear in the last cell.

    Lin et al. 2023, arXiv:2305.08891. At the times i/T, i < T, it is the chain of the table.

    Args:
        log_alpha: (T - 1,) strictly decreasing, for i = 1..T-1; alpha is 0 at i = T.
    """

    def __init__(self, log_alpha: Tensor) -> None:
        super().__init__(torch.cat([log_alpha.double(), log_alpha.new_full((1,), -torch.inf)]))
        self._last = float(log_alpha[-1])

    def _within(self, t: Tensor) -> Tensor:
        """Place inside the last cell, from 0 to 1; negative before it."""
        return t * self.steps - (self.steps - 1)

    def log_alpha(self, t: Tensor) -> Tensor:
        u = self._within(t)
        before = super().log_alpha(t.clamp_max(1 - 1 / self.steps))
        return torch.where(u > 0, self._last + torch.log1p(-u.clamp(0, 1)), before)

    def log_alpha_rate(self, t: Tensor) -> Tensor:
        u = self._within(t)
        before = super().log_alpha_rate(t.clamp_max(1 - 1.5 / self.steps))
        return torch.where(u >= 0, -self.steps / (1 - u.clamp(0, 1)), before)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.alpha(t), self.sigma(t)
        ends = self._within(t) >= 0
        end_rate = -self.steps * torch.full_like(t, self._last).exp()
        rate = torch.where(ends, end_rate, alpha * self.log_alpha_rate(t))
        return rate, -alpha * rate / sigma

    def time(self, logsnr: Tensor) -> Tensor:
        alpha = torch.sigmoid(logsnr.double()).sqrt()
        edge = torch.full_like(alpha, self._last).exp()
        u = (1 - alpha / edge).clamp(0, 1)
        before = super().time(logsnr.clamp_min(2 * self._last))
        return torch.where(alpha < edge, 1 - (1 - u) / self.steps, before)


def schedule(alpha_bar: Tensor) -> Table:
    """The chain with these alpha_bar_i, i = 1..T, descending; the last one may be 0."""
    log_alpha = 0.5 * alpha_bar.detach().double().cpu().log()
    return ZeroTerminal(log_alpha[:-1]) if alpha_bar[-1] == 0 else Table(log_alpha)
