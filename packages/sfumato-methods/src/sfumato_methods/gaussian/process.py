"""The Gaussian process: Markov noising of data under any schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, Dirac, Implicit, InputError, Law, Mixture, Normal, Process, expand
from sfumato.laws import Space, filled
from sfumato.process import CLOCK_LIMIT, rows
from sfumato.state import Time, apply, axpy, item_sum, scale

from ..terms import plus
from .schedules import EDM, VE, VP, Cosine, Linear, Schedule, SubVP

__all__ = ["Gaussian", "Step", "cosine", "edm", "linear", "one_clock", "subvp", "ve", "vp"]


class Step(NamedTuple):
    """q(x_s | x_0, x_t) = N(data x_0 + keep x_t, std^2): floats, or time-shaped tensors."""

    data: Any
    keep: Any
    std: Any


class Gaussian(Process):
    """x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I), noised by a Markov chain.

    The bridge is q(x_s | x_0, x_t) = N(c x_0 + k x_t, v) with r = SNR(t)/SNR(s),
    k = sqrt(r) sigma(s)/sigma(t), c = alpha(s) - k alpha(t), v = sigma(s)^2 (1 - r)
    (Kingma et al. 2021, arXiv:2107.00630, appendix A).

    Args:
        schedule: alpha and sigma.
        space: subspace of the noise; the data must lie in it. None: all of it.
    """

    can = (
        Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.AFFINE | Can.GAUSSIAN
        | Can.LIKELIHOOD
    )  # fmt: skip
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, Mixture, Implicit)

    def __init__(self, schedule: Schedule, space: Space | None = None) -> None:
        super().__init__()
        self.schedule = schedule
        self.space = space

    def extra_repr(self) -> str:
        return repr(self.schedule) + (f", space={self.space}" if self.space else "")

    def alpha(self, t: Time) -> Tensor:
        """Scale of the data, float64."""
        return self.schedule.alpha(one_clock(t))

    def sigma(self, t: Time) -> Tensor:
        """Scale of the noise, float64."""
        return self.schedule.sigma(one_clock(t))

    def logsnr(self, t: Time) -> Tensor:
        """log(alpha^2 / sigma^2), float64; infinite where there is no noise or no data."""
        return self.schedule.logsnr(one_clock(t))

    def time(self, logsnr: Tensor) -> Tensor:
        """Time at which the log-SNR has this value, clamped to [0, 1]."""
        return self.schedule.time(logsnr)

    def clock(self, t: Time) -> Tensor:
        return (-0.5 * self.logsnr(t)).clamp(-CLOCK_LIMIT, CLOCK_LIMIT)

    def prior(self, like: Any) -> Normal:
        return self.marginal(apply(like, torch.zeros_like), torch.ones((), dtype=torch.float64))

    def marginal(self, x0: Any, t: Time) -> Normal:
        return Normal(x0 * expand(x0, self.alpha(t)), expand(x0, self.sigma(t)), self.space)

    def _step(self, t: Time, s: Time) -> Step:
        t, s = one_clock(t), one_clock(s)
        rest = s == t
        sigma_t, sigma_s = self.sigma(t), self.sigma(s)
        gap = torch.where(rest, 0.0, self.logsnr(t) - self.logsnr(s))  # log r, not positive
        noise = torch.where(sigma_t > 0, sigma_t, 1.0)
        keep = torch.where(rest, 1.0, sigma_s / noise * (0.5 * gap).exp())
        data = torch.where(rest, 0.0, self.alpha(s) - keep * self.alpha(t))
        return Step(data, keep, sigma_s * (-torch.expm1(gap)).clamp_min(0).sqrt())

    def plan(self, grid: Time) -> Sequence[Step]:
        times = one_clock(grid)
        columns = self._step(times[:-1], times[1:])
        return [Step(*row) for row in rows(times, *columns)]

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Step | None = None) -> Normal:
        data, keep, std = row or self._step(t, s)
        return Normal(plus(keep, x, scale(data, x0)), self._std(std, x), self.space)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Step | None = None) -> Law:
        row = row or self._step(t, s)
        if isinstance(q, Dirac):
            return self.bridge(q.mean, x, t, s, row)
        if isinstance(q, Normal):
            own, spread = self._std(row.std, x), scale(row.data, filled(x, q.std))
            both = spread * spread + own * own
            mean = plus(row.keep, x, scale(row.data, q.mean))
            return Normal(mean, apply(both, torch.sqrt), self.space)
        if isinstance(q, Mixture):
            return Mixture(q.probs, [self.transition(p, x, t, s, row) for p in q.parts])
        return super().transition(q, x, t, s, row)

    @staticmethod
    def _std(std: Any, x: Any) -> Any:
        return std if isinstance(std, float) else expand(x, std)

    def _velocity(self, t: Time) -> tuple[Tensor, Tensor]:
        """(data, keep): dx/dt = data x_0 + keep x, infinite or NaN at t = 0."""
        u = one_clock(t)
        alpha_rate, sigma_rate = self.schedule.rates(u)
        keep = sigma_rate / self.sigma(u)
        return alpha_rate - keep * self.alpha(u), keep

    def plan_velocity(self, grid: Time) -> Sequence[Any]:
        return rows(one_clock(grid), *self._velocity(grid))

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Any:
        data, keep = row or self._velocity(t)
        return axpy(keep, x, scale(data, q.mean))

    def score(self, q: Any, x: Any, t: Time) -> Any:
        precision = 1 / self.sigma(t).square()
        return scale(self.alpha(t) * precision, q.mean) - scale(precision, x)

    def rate(self, x0: Any, q: Any, x: Any, t: Time) -> Tensor:
        """(B,) nats of the bound per unit of time: -SNR'(t)/2 |x_0 - E[x_0]|^2.

        Kingma et al. 2021, arXiv:2107.00630, eq. 15; see `sfumato_methods.bounds`.
        """
        u = one_clock(t)
        alpha, sigma = self.alpha(u), self.sigma(u)
        alpha_rate, sigma_rate = self.schedule.rates(u)
        weight = alpha * (alpha * sigma_rate - alpha_rate * sigma) / sigma**3
        gap = x0 - q.mean
        return item_sum(scale(weight, gap * gap))

    def decode(self, q: Any, t: Time) -> Normal:
        """A density of x_0 from a point estimate at a small t, as wide as sigma/alpha."""
        return Normal(q.mean, expand(q.mean, self.sigma(t) / self.alpha(t)), self.space)


def one_clock(t: Time) -> Tensor:
    """A time in float64; raises `InputError` for a mapping of times."""
    if not isinstance(t, Tensor):
        raise InputError("a Gaussian process has one clock, but was given a mapping of times")
    return t.double()


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> Gaussian:
    """`Gaussian(VP(...))`."""
    return Gaussian(VP(beta_min, beta_max))


def subvp(beta_min: float = 0.1, beta_max: float = 20.0) -> Gaussian:
    """`Gaussian(SubVP(...))`."""
    return Gaussian(SubVP(beta_min, beta_max))


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> Gaussian:
    """`Gaussian(VE(...))`."""
    return Gaussian(VE(sigma_min, sigma_max))


def linear() -> Gaussian:
    """`Gaussian(Linear())`."""
    return Gaussian(Linear())


def cosine(offset: float = 0.008) -> Gaussian:
    """`Gaussian(Cosine(...))`."""
    return Gaussian(Cosine(offset))


def edm(sigma_max: float = 80.0) -> Gaussian:
    """`Gaussian(EDM(...))`."""
    return Gaussian(EDM(sigma_max))
