"""Paths between two ends: what each end and the noise weigh in x_t, as functions of time.

x_t = a(t) source + b(t) x_0 + c(t) eps, with (a, b, c) = (0, 1, 0) at t = 0 and b(1) = 0. Times and
values are float64; both ends are exact, whatever is singular between them and the inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sfumato import InputError

from ..gaussian import Schedule

__all__ = [
    "Arch", "Around", "Curve", "Doob", "Level", "Missing", "Path", "Residual", "Rest", "Rise",
    "Root", "Shares", "Sine", "Straight",
]  # fmt: skip


class Shares(NamedTuple):
    """What the source, the data and the noise weigh (or how fast that changes), float64."""

    source: Tensor
    data: Tensor
    noise: Tensor


class Path(Protocol):
    """The coefficients of x_t = a source + b x_0 + c eps."""

    def shares(self, t: Tensor) -> Shares:
        """(a, b, c)."""

    def rates(self, t: Tensor) -> Shares:
        """Derivatives of (a, b, c) in t; of no use where c = 0."""

    def logsnr(self, t: Tensor) -> Tensor:
        """log(b^2 / c^2): +inf at t = 0, -inf where no data is left."""

    def memory(self, t: Tensor) -> Tensor:
        """Twice the log of f: the noise at s <= t is correlated with that at t by f(t) / f(s)."""


@dataclass(frozen=True)
class Doob:
    """A diffusion under `schedule`, started at x_0 and known to end at the source.

    With w(t) = SNR(1)/SNR(t):  a = alpha(t)/alpha(1) w,  b = alpha(t) (1 - w),
    c = sigma(t) (1 - w)^(1/2) (Zhou et al. 2023, arXiv:2309.16948). It stays Markov: the
    noise has the memory of log(b^2/c^2).

    Args:
        schedule: of the diffusion; alpha(1) and sigma(1) must be positive.

    Raises:
        InputError: if the schedule loses the data altogether, so that nothing leads to the source.
    """

    schedule: Schedule
    _end: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        one = torch.ones((), dtype=torch.float64)
        alpha, logsnr = float(self.schedule.alpha(one)), float(self.schedule.logsnr(one))
        if not (alpha > 1e-8 and math.isfinite(logsnr)):
            raise InputError(
                f"a bridge needs a schedule that keeps some of the data at t = 1, but alpha(1) = "
                f"{alpha:g} for {self.schedule}; take VP with a smaller beta_max, VE or EDM"
            )
        object.__setattr__(self, "_end", (alpha, logsnr))

    def _left(self, t: Tensor) -> Tensor:
        """Log of w, 0 at t = 1 and -inf at t = 0."""
        return self._end[1] - self.schedule.logsnr(t)

    def shares(self, t: Tensor) -> Shares:
        left = self._left(t)
        alpha, rest = self.schedule.alpha(t), (-torch.expm1(left)).clamp_min(0)
        return Shares(
            alpha / self._end[0] * left.exp(), alpha * rest, self.schedule.sigma(t) * rest.sqrt()
        )

    def rates(self, t: Tensor) -> Shares:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        alpha_rate, sigma_rate = self.schedule.rates(t)
        left = self._left(t)
        w, rest = left.exp(), -torch.expm1(left)
        w_rate = 2 * w * (sigma_rate / sigma - alpha_rate / alpha)
        root = rest.sqrt()
        return Shares(
            (alpha_rate * w + alpha * w_rate) / self._end[0],
            alpha_rate * rest - alpha * w_rate,
            sigma_rate * root - 0.5 * sigma * w_rate / root,
        )

    def logsnr(self, t: Tensor) -> Tensor:
        return self.schedule.logsnr(t) + (-torch.expm1(self._left(t))).clamp_min(0).log()

    def memory(self, t: Tensor) -> Tensor:
        return self.logsnr(t)


@dataclass(frozen=True)
class Around:
    """A diffusion under `schedule` of what the data is away from its source.

    a = 1 - alpha, b = alpha, c = sigma: x_t - source = alpha (x_0 - source) + sigma eps, a Markov
    chain (Han et al. 2024, arXiv:2410.13027, eq. 5; Lee et al. 2021, arXiv:2106.06406). With
    alpha(1) = 0 it ends in noise around the source.
    """

    schedule: Schedule

    def shares(self, t: Tensor) -> Shares:
        alpha = self.schedule.alpha(t)
        return Shares(1 - alpha, alpha, self.schedule.sigma(t))

    def rates(self, t: Tensor) -> Shares:
        alpha, sigma = self.schedule.rates(t)
        return Shares(-alpha, alpha, sigma)

    def logsnr(self, t: Tensor) -> Tensor:
        return self.schedule.logsnr(t)

    def memory(self, t: Tensor) -> Tensor:
        return self.schedule.logsnr(t)


class Curve(Protocol):
    """A coefficient of its own, with its derivative."""

    def at(self, t: Tensor) -> Tensor:
        """The value."""

    def rate(self, t: Tensor) -> Tensor:
        """Its derivative in t."""


@dataclass(frozen=True)
class Root:
    """(variance t (1 - t))^(1/2): Brownian motion pinned at both ends.

    BBDM (Li et al. 2022, arXiv:2205.07680) has variance 2 s.
    """

    variance: float = 1.0

    def at(self, t: Tensor) -> Tensor:
        return (self.variance * t * (1 - t)).sqrt()

    def rate(self, t: Tensor) -> Tensor:
        return 0.5 * self.variance * (1 - 2 * t) / self.at(t)


@dataclass(frozen=True)
class Arch:
    """scale t (1 - t)."""

    scale: float = 1.0

    def at(self, t: Tensor) -> Tensor:
        return self.scale * t * (1 - t)

    def rate(self, t: Tensor) -> Tensor:
        return self.scale * (1 - 2 * t)


@dataclass(frozen=True)
class Sine:
    """scale sin(pi t)^2."""

    scale: float = 1.0

    def at(self, t: Tensor) -> Tensor:
        # by the nearer end: sin(pi) is no zero
        return self.scale * (math.pi * torch.minimum(t, 1 - t)).sin().square()

    def rate(self, t: Tensor) -> Tensor:
        return self.scale * math.pi * (2 * math.pi * t).sin()


@dataclass(frozen=True)
class Straight:
    """a = t, b = 1 - t, c = gamma(t): stochastic interpolants.

    Albergo, Boffi & Vanden-Eijnden 2023, arXiv:2303.08797. The noise has the memory of a
    Brownian bridge, (1 - t)/t, under which every gamma leaves a law for the noise of each step.

    Args:
        gamma: vanishes at both ends, positive between.
    """

    gamma: Curve = Root()

    def shares(self, t: Tensor) -> Shares:
        return Shares(t, 1 - t, self.gamma.at(t))

    def rates(self, t: Tensor) -> Shares:
        one = torch.ones_like(t)
        return Shares(one, -one, self.gamma.rate(t))

    def logsnr(self, t: Tensor) -> Tensor:
        return _logsnr(1 - t, self.gamma.at(t))

    def memory(self, t: Tensor) -> Tensor:
        return -torch.logit(t)


def _logsnr(data: Tensor, noise: Tensor) -> Tensor:
    some = data > 0
    return torch.where(some, 2 * (torch.where(some, data, 1.0).log() - noise.log()), -torch.inf)


@dataclass(frozen=True)
class Rise:
    """top u^power with u = (t - low)/(high - low), clipped to [0, 1]: a coefficient that grows.

    Args:
        power: shape.
        top: value at its end.
        low: time until which it is 0.
        high: time from which it stays at its top.
    """

    power: float = 1.0
    top: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (self.power > 0 and self.top >= 0 and 0 <= self.low < self.high <= 1):
            raise InputError(
                "Rise takes power > 0, top >= 0 and 0 <= low < high <= 1, not "
                f"power={self.power}, top={self.top}, low={self.low}, high={self.high}"
            )

    def _inner(self, t: Tensor) -> Tensor:
        return ((t - self.low) / (self.high - self.low)).clamp(0, 1)

    def at(self, t: Tensor) -> Tensor:
        return self.top * self._inner(t) ** self.power

    def rate(self, t: Tensor) -> Tensor:
        slope = self.top * self.power / (self.high - self.low)
        moves = (t >= self.low) & (t <= self.high)
        return torch.where(moves, slope * self._inner(t) ** (self.power - 1), 0.0)


@dataclass(frozen=True)
class Rest:
    """1 - (1 - t)^power: a share that grows fast at first and levels off."""

    power: float = 2.0

    def __post_init__(self) -> None:
        if not self.power >= 1:
            raise InputError(f"Rest takes power >= 1, not {self.power}")

    def at(self, t: Tensor) -> Tensor:
        return 1 - (1 - t) ** self.power

    def rate(self, t: Tensor) -> Tensor:
        return self.power * (1 - t) ** (self.power - 1)


@dataclass(frozen=True)
class Missing:
    """1 - alpha(t) of a schedule: with `Level` the residual path that is its diffusion."""

    schedule: Schedule

    def at(self, t: Tensor) -> Tensor:
        return 1 - self.schedule.alpha(t)

    def rate(self, t: Tensor) -> Tensor:
        return -self.schedule.rates(t)[0]


@dataclass(frozen=True)
class Level:
    """sigma(t) of a schedule."""

    schedule: Schedule

    def at(self, t: Tensor) -> Tensor:
        return self.schedule.sigma(t)

    def rate(self, t: Tensor) -> Tensor:
        return self.schedule.rates(t)[1]


@dataclass(frozen=True)
class Residual:
    """a = A, b = 1 - A, c = B: a share of the residual, source - x_0, and noise beside it.

    Liu et al. 2024, arXiv:2308.13712: x_t = x_0 + A (source - x_0) + B eps. The noise is
    added step by step, with the memory of a random walk, 1/B^2. Both curves may be exchanged after
    training, or moved against each other (`Rise` with `low` and `high`).

    Args:
        share: A, from 0 to 1.
        noise: B, from 0, never falling; B(1) is left at the source.
    """

    share: Curve = Rest()
    noise: Curve = Rise(top=0.1)

    def shares(self, t: Tensor) -> Shares:
        share = self.share.at(t)
        return Shares(share, 1 - share, self.noise.at(t))

    def rates(self, t: Tensor) -> Shares:
        rate = self.share.rate(t)
        return Shares(rate, -rate, self.noise.rate(t))

    def logsnr(self, t: Tensor) -> Tensor:
        return _logsnr(1 - self.share.at(t), self.noise.at(t))

    def memory(self, t: Tensor) -> Tensor:
        return -2 * self.noise.at(t).clamp_min(1e-300).log()
