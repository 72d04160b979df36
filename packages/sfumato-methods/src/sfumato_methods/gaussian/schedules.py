"""Noise schedules: alpha(t) and sigma(t), each named by its published formula.

Every schedule maps float64 times in [0, 1] to float64 values, with alpha(0) = 1 and sigma(0) = 0,
and carries its derivative and the inverse of its log-SNR, log(alpha^2 / sigma^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import InputError

__all__ = ["EDM", "VE", "VP", "Cosine", "Linear", "Schedule", "SubVP", "Table"]


class Schedule(Protocol):
    """alpha and sigma of x_t = alpha(t) x_0 + sigma(t) eps."""

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data."""

    def sigma(self, t: Tensor) -> Tensor:
        """Scale of the noise."""

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives (d alpha/dt, d sigma/dt)."""

    def logsnr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2), exact near both ends; +inf at t = 0."""

    def time(self, logsnr: Tensor) -> Tensor:
        """Inverse of `logsnr`, clamped to [0, 1]."""


def _positive(owner: object, **values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InputError(f"{type(owner).__name__}: {name} must be positive, but is {value}")


class _Preserving:
    """alpha^2 + sigma^2 = 1, given by log alpha(t) and its derivative."""

    def log_alpha(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def log_alpha_rate(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def alpha(self, t: Tensor) -> Tensor:
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self.log_alpha(t))).sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, rate = self.alpha(t), self.log_alpha_rate(t)
        return alpha * rate, -alpha.square() * rate / self.sigma(t)

    def logsnr(self, t: Tensor) -> Tensor:
        twice = 2 * self.log_alpha(t)
        return twice - (-torch.expm1(twice)).log()


@dataclass(frozen=True)
class VP(_Preserving):
    """Variance preserving: log alpha = -t^2 (beta_max - beta_min)/4 - t beta_min/2.

    Song et al. 2021, arXiv:2011.13456, eq. 33: the linear-beta DDPM in continuous time.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _positive(self, beta_min=self.beta_min, beta_max=self.beta_max)
        if self.beta_max < self.beta_min:
            raise InputError("VP: beta_max must not be smaller than beta_min")

    def log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * t.square() * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def log_alpha_rate(self, t: Tensor) -> Tensor:
        return -0.5 * (t * (self.beta_max - self.beta_min) + self.beta_min)

    def time(self, logsnr: Tensor) -> Tensor:
        return self._time(0.5 * F.softplus(-logsnr.double()))

    def _time(self, decay: Tensor) -> Tensor:
        """Where -log alpha has this value; bounded, since inf / inf is no time."""
        c = decay.clamp_max(1e12)
        b = 0.5 * self.beta_min
        return (2 * c / (b + (b * b + (self.beta_max - self.beta_min) * c).sqrt())).clamp(0, 1)

    @staticmethod
    def from_betas(betas: Sequence[float] | Tensor) -> Table:
        """The discrete chain of Ho et al. 2020 (arXiv:2006.11239) with these variances beta_i."""
        rates = torch.as_tensor(betas, dtype=torch.float64)
        if rates.ndim != 1 or len(rates) == 0 or not bool(((rates > 0) & (rates < 1)).all()):
            raise InputError("betas must be a list of numbers between 0 and 1, ends excluded")
        return Table(0.5 * torch.log1p(-rates).cumsum(0))

    @staticmethod
    def from_alpha_bar(alpha_bar: Sequence[float] | Tensor) -> Table:
        """The discrete chain with these cumulative products alpha_bar_i, i = 1..T."""
        table = torch.as_tensor(alpha_bar, dtype=torch.float64)
        if table.ndim != 1 or len(table) == 0 or not bool(((table > 0) & (table < 1)).all()):
            raise InputError("alpha_bar must be a list of numbers between 0 and 1, ends excluded")
        return Table(0.5 * table.log())


@dataclass(frozen=True)
class SubVP(VP):
    """alpha of `VP`, sigma = 1 - alpha^2: less noise on the way, the same end.

    Song et al. 2021, arXiv:2011.13456, eq. 29 to 31.
    """

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * self.log_alpha(t))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, rate = self.alpha(t), self.log_alpha_rate(t)
        return alpha * rate, -2 * alpha.square() * rate

    def logsnr(self, t: Tensor) -> Tensor:
        return 2 * (self.log_alpha(t) - self.sigma(t).log())

    def time(self, logsnr: Tensor) -> Tensor:
        return self._time(torch.asinh(0.5 * (-0.5 * logsnr.double()).exp()))


class Table(_Preserving):
    """Variance preserving with log alpha tabulated at t = i/T, i = 0..T, and linear between.

    At the table's times it equals the discrete chain; between them beta is constant.

    Args:
        log_alpha: (T,) strictly decreasing, for i = 1..T (log alpha is 0 at i = 0).
    """

    def __init__(self, log_alpha: Tensor) -> None:
        knots = torch.cat([log_alpha.new_zeros(1), log_alpha]).double()
        if not bool((knots.diff() < 0).all()):
            raise InputError("the table of alpha must decrease strictly, starting below 1")
        self._knots = knots

    @property
    def steps(self) -> int:
        """Number T of steps of the discrete chain."""
        return len(self._knots) - 1

    def _cell(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        knots = self._knots.to(t.device)
        i = (t * self.steps).floor().clamp(0, self.steps - 1).long()
        return i, knots[i], knots[i + 1] - knots[i]

    def log_alpha(self, t: Tensor) -> Tensor:
        i, start, rise = self._cell(t)
        return start + (t * self.steps - i) * rise

    def log_alpha_rate(self, t: Tensor) -> Tensor:
        return self._cell(t)[2] * self.steps

    def time(self, logsnr: Tensor) -> Tensor:
        depth = 0.5 * F.softplus(-logsnr.double())
        knots = -self._knots.to(depth.device)
        i = (torch.searchsorted(knots, depth) - 1).clamp(0, self.steps - 1)
        return ((i + (depth - knots[i]) / (knots[i + 1] - knots[i])) / self.steps).clamp(0, 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and torch.equal(self._knots, other._knots)

    def __hash__(self) -> int:
        return hash((self.steps, float(self._knots[-1])))

    def __repr__(self) -> str:
        return f"Table(steps={self.steps}, log_alpha_end={float(self._knots[-1]):.6g})"


class _Unscaled:
    """alpha = 1: noise is added and the data is left as it is."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def logsnr(self, t: Tensor) -> Tensor:
        return -2 * self.sigma(t).log()


@dataclass(frozen=True)
class VE(_Unscaled):
    """Variance exploding: sigma^2 = sigma_min^2 ((sigma_max/sigma_min)^(2t) - 1).

    Song et al. 2021, arXiv:2011.13456, eq. 29-30: the kernel of the SDE started on clean data.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _positive(self, sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        if self.sigma_max <= self.sigma_min:
            raise InputError("VE: sigma_max must be larger than sigma_min")

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.expm1(2 * self._log_ratio * t).sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        growth = self._log_ratio * (2 * self._log_ratio * t).exp()
        return torch.zeros_like(t), self.sigma_min**2 * growth / self.sigma(t)

    def time(self, logsnr: Tensor) -> Tensor:
        relative = (-logsnr.double()).exp() / self.sigma_min**2
        return (torch.log1p(relative) / (2 * self._log_ratio)).clamp(0, 1)


@dataclass(frozen=True)
class EDM(_Unscaled):
    """alpha = 1, sigma = sigma_max t: the coordinates of Karras et al. 2022 (arXiv:2206.00364)."""

    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        _positive(self, sigma_max=self.sigma_max)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_max * t

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.full_like(t, self.sigma_max)

    def time(self, logsnr: Tensor) -> Tensor:
        return ((-0.5 * logsnr.double()).exp() / self.sigma_max).clamp(0, 1)


@dataclass(frozen=True)
class Linear:
    """alpha = 1 - t, sigma = t: flow matching (Lipman et al. 2022, arXiv:2210.02747)."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def logsnr(self, t: Tensor) -> Tensor:
        return -2 * torch.logit(t)

    def time(self, logsnr: Tensor) -> Tensor:
        return torch.sigmoid(-0.5 * logsnr.double())


@dataclass(frozen=True)
class Cosine:
    """alpha = cos(u(t)) / cos(u(0)), u(t) = pi/2 (t + offset)/(1 + offset), alpha^2 + sigma^2 = 1.

    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.
    """

    offset: float = 0.008

    def __post_init__(self) -> None:
        if not 0 <= self.offset < 1:
            raise InputError(f"Cosine: offset must lie in [0, 1), but is {self.offset}")

    @property
    def _start(self) -> float:
        return 0.5 * math.pi * self.offset / (1 + self.offset)

    @property
    def _speed(self) -> float:
        return 0.5 * math.pi / (1 + self.offset)

    def alpha(self, t: Tensor) -> Tensor:
        # the sine of the distance from the end: exactly 0 at t = 1, where cos(pi/2) is not
        return torch.sin(self._speed * (1 - t)) / math.cos(self._start)

    def sigma(self, t: Tensor) -> Tensor:
        # cos^2 a - cos^2 b = sin(b + a) sin(b - a), which does not cancel near t = 0
        move = self._speed * t
        product = torch.sin(2 * self._start + move) * torch.sin(move)
        return product.clamp_min(0).sqrt() / math.cos(self._start)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        slope = -self._speed * torch.cos(self._speed * (1 - t)) / math.cos(self._start)
        return slope, -self.alpha(t) * slope / self.sigma(t)

    def logsnr(self, t: Tensor) -> Tensor:
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def time(self, logsnr: Tensor) -> Tensor:
        kept = torch.sigmoid(logsnr.double()) * math.cos(self._start) ** 2
        noise = torch.sigmoid(-logsnr.double()) * math.cos(self._start) ** 2
        lost = noise + math.sin(self._start) ** 2
        angle = torch.atan2(lost.sqrt(), kept.sqrt())
        return ((angle - self._start) / self._speed).clamp(0, 1)
