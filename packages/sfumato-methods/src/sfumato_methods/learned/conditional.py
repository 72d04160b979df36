"""Gaussian laws whose mean and width are learned functions of the clean data."""

from __future__ import annotations

__all__ = ["Conditional"]

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import (
    Can,
    Dirac,
    Fields,
    Implicit,
    InputError,
    Law,
    Mixture,
    Normal,
    Process,
    Unsupported,
    expand,
)
from sfumato.state import Time, apply, axpy, item_sum, scale

from ..gaussian import Gaussian, Schedule
from ..gaussian.process import Step
from .nets import motion


class Conditional(Process):
    """q(x_t | x_0) = N(mu(x_0, t), tau(x_0, t)^2), with the volatility g of a schedule.

    Held at fixed noise the state moves by f = mu' + (tau'/tau) (x - mu). Backwards, given x_0,

        dx = [f + (g^2/2) (x - mu)/tau^2] dt + g dw,    g^2 = -sigma^2 dlogsnr/dt

    has these marginals (Bartosh et al. 2024, arXiv:2404.12940, section 3). There (x - mu)/tau is an
    Ornstein-Uhlenbeck process, hence the bridge

        q(x_s | x_0, x_t) = N(mu_s + rho (tau_s/tau_t) (x_t - mu_t), tau_s^2 (1 - rho^2))

    with rho = exp(-1/2 int_s^t g^2/tau^2). A model follows the same laws with its guess of x_0 in
    the place of x_0. For mu = alpha x_0, tau = sigma all this is `Gaussian`.

    Subclasses write `moments`. A posterior over x_0 must be points (`Dirac`, or a `Mixture` of
    them), since mu is not linear; from others `transition` draws.

    Args:
        schedule: alpha and sigma before anything is learned, and g.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.LIKELIHOOD
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, Mixture, Implicit)

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.base = Gaussian(schedule)
        """The process before anything is learned: what a `Preconditioned` denoiser is built on."""

    def moments(self, x0: Any, t: Tensor) -> Fields:
        """`mean`, mu(x_0, t), and where tau is not sigma `width`, log(tau/sigma); like x_0 each."""
        raise NotImplementedError

    def clock(self, t: Time) -> Tensor:
        return self.base.clock(t)

    def prior(self, like: Any) -> Normal:
        return self.base.prior(like)

    def marginal(self, x0: Any, t: Time) -> Normal:
        u = _one_clock(t)
        found, sigma = self.moments(x0, u), expand(x0, self.base.sigma(u))
        wide = apply(found["width"], torch.exp) * sigma if "width" in found else sigma
        return Normal(found["mean"], wide)

    def plan(self, grid: Time) -> Sequence[Any]:
        return self.base.plan(grid)

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Step | None = None) -> Normal:
        t, s = _one_clock(t), _one_clock(s)
        step = row or self.base.plan(torch.stack([t, s]))[0]
        start, end = self.moments(x0, t)["mean"], self.moments(x0, s)["mean"]
        std = step.std if isinstance(step.std, float) else expand(x, step.std)
        return Normal(axpy(step.keep, x, end - scale(step.keep, start)), std)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        if isinstance(q, Dirac):
            return self.bridge(q.mean, x, t, s, row)
        if isinstance(q, Mixture):
            return Mixture(q.probs, [self.transition(p, x, t, s, row) for p in q.parts])
        if isinstance(q, Normal) and bool((_one_clock(s) == 0).all() & (_one_clock(t) > 0).all()):
            return q  # the bridge ends in x_0
        return super().transition(q, x, t, s, row)

    def _motion(self, x0: Any, x: Any, t: Tensor) -> tuple[Any, Any]:
        """(f, (x - mu) sigma^2/tau^2): the flow at fixed noise, and the pull towards mu."""
        _, sigma_rate = self.base.schedule.rates(t)
        now, rate = motion(lambda u: self.moments(x0, u), t)
        away = x - now["mean"]
        flow = rate["mean"] + scale(sigma_rate / self.base.sigma(t), away)
        if "width" in rate:
            flow = flow + rate["width"] * away
        return flow, _narrowed(now, away)

    def plan_velocity(self, grid: Time) -> Sequence[Tensor]:
        return list(_one_clock(grid).unbind(0))  # what is planned is where to look

    def velocity(self, q: Any, x: Any, t: Time, row: Tensor | None = None) -> Any:
        u = _one_clock(t) if row is None else row
        return _averaged(q, lambda point: self._motion(point, x, u)[0])

    def score(self, q: Any, x: Any, t: Time) -> Any:
        u = _one_clock(t)

        def pull(point: Any) -> Any:
            found = self.moments(point, u)
            return _narrowed(found, x - found["mean"])

        return scale(-1 / self.base.sigma(u).square(), _averaged(q, pull))

    def rate(self, x0: Any, q: Any, x: Any, t: Tensor) -> Tensor:
        """(B,) nats of the bound per unit of time at (x, t): |drift(x_0) - drift(q)|^2 / (2 g^2).

        Of the drifts backwards; its gradient reaches mu and tau through x_0 and through q.
        """
        alpha_rate, sigma_rate = self.base.schedule.rates(t)
        sigma = self.base.sigma(t)
        slope = 2 * (alpha_rate / self.base.alpha(t) - sigma_rate / sigma)  # dlogsnr/dt

        def drift(point: Any) -> Any:
            flow, pull = self._motion(point, x, t)
            return flow + scale(-0.5 * slope, pull)

        gap = scale((-2 * slope).rsqrt() / sigma, drift(x0) - _averaged(q, drift))
        return item_sum(gap * gap)

    def decode(self, q: Any, t: Tensor) -> Normal:
        """A density of x_0 from a point estimate at a small t, as wide as sigma/alpha."""
        return self.base.decode(q, t)


def _narrowed(found: Fields, away: Any) -> Any:
    """The deviation x - mu over (tau/sigma)^2."""
    if "width" not in found:
        return away
    return apply(found["width"], lambda v: (-2 * v).exp()) * away


def _averaged(q: Any, f: Callable[[Any], Any]) -> Any:
    """The mean of a function of x_0 over a posterior made of points."""
    if isinstance(q, Dirac):
        return f(q.mean)
    if isinstance(q, Mixture):
        each = [_averaged(part, f) for part in q.parts]
        first, *rest = (v * expand(v, w) for v, w in zip(each, q.probs.unbind(1), strict=True))
        return sum(rest, start=first)
    raise Unsupported(
        "the velocity, score and rate of a learned process need points, a Dirac or a Mixture of "
        f"them, but the denoiser returned {type(q).__name__}; Ancestral() takes it"
    )


def _one_clock(t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("a learned process has one clock, but was given a mapping of times")
    return t.double()
