"""Pinned processes: every item has a source of its own, at which its path ends."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from sfumato import Can, Dirac, Implicit, InputError, Law, Mixture, Normal, Process
from sfumato.laws import Space
from sfumato.process import CLOCK_LIMIT, rows
from sfumato.state import Time, apply, axpy, expand, scale

from ..gaussian import EDM, VP, Gaussian, Linear
from ..gaussian.process import Step
from .paths import Curve, Doob, Path, Residual, Rest, Rise, Root, Shares, Straight

__all__ = [
    "Pinned", "ResidualDiffusion", "Restored", "Sourced", "Transport", "brownian_bridge", "ddbm",
    "ddbm_ve", "interpolant", "rddm",
]  # fmt: skip


class Restored(Dirac):
    """A point estimate of the data that comes with its own estimate of the residual.

    Where a network predicts both the residual and the noise, their sum need not lead back to the
    source: the process then goes on towards mean + residual (Liu et al. 2024, arXiv:2308.13712).

    Args:
        mean: state, the estimate of x_0.
        residual: state, the estimate of source - x_0.
        source: what it was told, from which the true residual is known in training.
    """

    __slots__ = ("residual", "source")

    def __init__(self, mean: Any, residual: Any, source: Any) -> None:
        super().__init__(mean)
        self.residual, self.source = residual, source

    def loss(self, target: Any) -> Tensor:
        """(B,) squared errors of x_0 and of the residual, each a mean over the elements."""
        return super().loss(target) + Dirac(self.residual).loss(self.source - target)


class Sourced(Process):
    """Base of processes that end at a source which every item brings along.

    `given(source=x1)` returns the process of these items; without it no law is known.
    """

    context: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(self) -> None:
        super().__init__()
        self._source: Any = None

    def given(self, **context: Any) -> Self:
        if not context:
            return self
        if set(context) != {"source"}:
            raise InputError(f"{self} is given its source; given were {', '.join(context)}")
        view = copy.copy(self)
        view._source = context["source"]
        return view

    def source(self, like: Any) -> Any:
        """The source, in the precision and on the device of a state of the same shape.

        Raises:
            InputError: if none was given, or one of another shape.
        """
        if self._source is None:
            raise InputError(
                f"{self} ends at a source of every item: say process.given(source=x1) first"
            )
        known = self._source
        if isinstance(known, Tensor) and isinstance(like, Tensor) and known.shape == like.shape:
            return known.to(like)  # the common case, spared the dispatch

        def fitted(v: Tensor, u: Tensor) -> Tensor:
            if v.shape != u.shape:
                raise InputError(
                    f"the source has shape {tuple(v.shape)}, the state {tuple(u.shape)}: every "
                    "item needs a source of its own shape"
                )
            return v.to(u)

        return apply(known, fitted, like)


class _Row(NamedTuple):
    """The step of the path without its source, and what the source adds to it."""

    step: Step
    source: Any


class _Inner:
    """A path without its source as a schedule, its memory in the place of log-SNR."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def alpha(self, t: Tensor) -> Tensor:
        return self.path.shares(t).data

    def sigma(self, t: Tensor) -> Tensor:
        return self.path.shares(t).noise

    def logsnr(self, t: Tensor) -> Tensor:
        return self.path.memory(t)


class Pinned(Sourced):
    """x_t = a(t) source + b(t) x_0 + c(t) eps, eps ~ N(0, I), along a path (a, b, c).

    With m the memory of the path, r = exp(m(t) - m(s)) is the share of the variance of the noise at
    s that is known at t, and the bridge q(x_s | x_0, x_t, source) is

        N(a_s source + b_s x_0 + k (x_t - a_t source - b_t x_0), c_s^2 (1 - r)),
        k = c_s/c_t r^(1/2);

    for `Doob` that of the diffusion itself. The velocity is that of the probability flow of x_t
    given the source, in which the Doob term counts whole (Zhou et al. 2023, arXiv:2309.16948).
    Where c = 0, at both ends, the noise is not seen in x_t, and its expectation, 0, stands for it
    in velocity and score: a flow that begins at the source follows the mean. Samplers therefore
    draw their first step (`Ancestral`, `DBIM`, `BridgeHeun`).

    Args:
        path: the coefficients.
        space: subspace of the noise; data and sources must lie in it. None: all of it.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.GAUSSIAN | Can.LIKELIHOOD
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, Mixture, Implicit)

    def __init__(self, path: Path, space: Space | None = None) -> None:
        super().__init__()
        self.path = path
        self.space = space
        inner: Any = _Inner(path)
        self._inner = Gaussian(inner, space)

    def extra_repr(self) -> str:
        return repr(self.path) + (f", space={self.space}" if self.space else "")

    def shares(self, t: Time) -> Shares:
        """(a, b, c) at a time, float64."""
        return self.path.shares(_one_clock(t))

    def clock(self, t: Time) -> Tensor:
        """log(c/b), clamped: the noise beside the data."""
        return (-0.5 * self.path.logsnr(_one_clock(t))).clamp(-CLOCK_LIMIT, CLOCK_LIMIT)

    def end(self, q: Any, x: Any) -> Any:
        """Where the path of a state is heading for: the source, unless the posterior knows."""
        return q.mean + q.residual if isinstance(q, Restored) else self.source(x)

    def prior(self, like: Any) -> Law:
        """The source, with noise where the path keeps some; no data is left."""
        return self.marginal(apply(like, torch.zeros_like), torch.ones((), dtype=torch.float64))

    def marginal(self, x0: Any, t: Time) -> Law:
        a, b, c = self.shares(t)
        mean = x0 * expand(x0, b) + self.source(x0) * expand(x0, a)
        if c.ndim == 0 and not bool(c > 0):
            return Dirac(mean)
        return Normal(mean, expand(x0, c), self.space)

    def _row(self, t: Time, s: Time) -> _Row:
        t, s = _one_clock(t), _one_clock(s)
        step = self._inner._step(t, s)
        end = self.path.shares(s).source - step.keep * self.path.shares(t).source
        return _Row(step, torch.where(s == t, 0.0, end))

    def plan(self, grid: Time) -> Sequence[_Row]:
        times = _one_clock(grid)
        step, end = self._row(times[:-1], times[1:])
        return [_Row(Step(*row), last) for *row, last in rows(times, *step, end)]

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: _Row | None = None) -> Law:
        row = row or self._row(t, s)
        return _moved(self._inner.bridge(x0, x, t, s, row.step), row.source, self.source(x))

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: _Row | None = None) -> Law:
        row = row or self._row(t, s)
        return _moved(self._inner.transition(q, x, t, s, row.step), row.source, self.end(q, x))

    def _velocity(self, t: Time) -> Shares:
        """What source, mean and state weigh in dx/dt; the place of the noise is the state's."""
        u = _one_clock(t)
        a, b, c = self.path.shares(u)
        rate = self.path.rates(u)
        some = c > 0
        keep = torch.where(some, rate.noise / torch.where(some, c, 1.0), 0.0)
        return Shares(rate.source - keep * a, rate.data - keep * b, keep)

    def plan_velocity(self, grid: Time) -> Sequence[Any]:
        return rows(_one_clock(grid), *self._velocity(grid))

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Any:
        end, data, keep = row or self._velocity(t)
        return axpy(end, self.end(q, x), axpy(data, q.mean, scale(keep, x)))

    def score(self, q: Any, x: Any, t: Time) -> Any:
        a, b, c = self.shares(t)
        precision = torch.where(c > 0, c, torch.inf).square().reciprocal()
        pulled = axpy(a * precision, self.end(q, x), scale(b * precision, q.mean))
        return pulled - scale(precision, x)


def _moved(law: Law, share: Any, by: Any) -> Law:
    """The law of a draw + share * by."""
    if isinstance(share, float) and share == 0:
        return law
    if isinstance(law, Mixture):
        return Mixture(law.probs, [_moved(part, share, by) for part in law.parts])
    if isinstance(law, Normal):
        return Normal(axpy(share, by, law.mean), law.std, law.space)
    return Implicit(lambda generator: axpy(share, by, law.sample(generator)))


def _one_clock(t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("a pinned process has one clock, but was given a mapping of times")
    return t.double()


class Transport(Sourced):
    """x_t = (1 - t) x_0 + t source: flow matching from any law of sources.

    Lipman et al. 2022, arXiv:2210.02747; Liu et al. 2022, arXiv:2209.03003; Tong et al. 2023,
    arXiv:2302.00482. Nothing is drawn: what is random is which source goes with which item. The
    source is needed to noise and to begin; on its way a state has its posterior alone, velocity
    (x_t - E[x_0|x_t])/t, so that a denoiser that is not told the source (`Blind`) moves the law of
    the sources to that of the data.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, Mixture, Implicit)

    def __init__(self) -> None:
        super().__init__()
        self._line = Gaussian(Linear())

    def extra_repr(self) -> str:
        return ""

    def prior(self, like: Any) -> Law:
        return Dirac(self.source(like))

    def marginal(self, x0: Any, t: Time) -> Law:
        u = expand(x0, _one_clock(t))
        return Dirac(x0 * (1 - u) + self.source(x0) * u)

    @staticmethod
    def _row(t: Time, s: Time) -> tuple[Tensor, Tensor]:
        """(keep, data) of x_s = keep x_t + data x_0."""
        t, s = _one_clock(t), _one_clock(s)
        rest = s == t
        keep = torch.where(rest, 1.0, s / torch.where(rest, 1.0, t))
        return keep, torch.where(rest, 0.0, 1 - s - keep * (1 - t))

    def plan(self, grid: Time) -> Sequence[Any]:
        times = _one_clock(grid)
        return rows(times, *self._row(times[:-1], times[1:]))

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        self.source(x)
        keep, data = row or self._row(t, s)
        return Dirac(axpy(keep, x, scale(data, x0)))

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        if isinstance(q, Dirac):
            return self.bridge(q.mean, x, t, s, row)
        return super().transition(q, x, t, s, row)

    def plan_velocity(self, grid: Time) -> Sequence[Any]:
        return self._line.plan_velocity(grid)

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Any:
        self.source(x)
        return self._line.velocity(q, x, t, row)


class ResidualDiffusion(Pinned):
    """`Pinned` along a `Residual` path; its clock is the noise alone.

    How much of the residual is in a state is told apart (`Residuals`), so that both curves may be
    exchanged after training.
    """

    def __init__(self, path: Residual, space: Space | None = None) -> None:
        super().__init__(path, space)

    def clock(self, t: Time) -> Tensor:
        """Log B, clamped."""
        return self.shares(t).noise.log().clamp(-CLOCK_LIMIT, CLOCK_LIMIT)


def ddbm(beta_min: float = 0.1, beta_max: float = 2.1) -> Pinned:
    """Denoising diffusion bridge of `VP`; the betas of Zhou et al. 2023, arXiv:2309.16948."""
    return Pinned(Doob(VP(beta_min, beta_max)))


def ddbm_ve(sigma_max: float = 80.0) -> Pinned:
    """Denoising diffusion bridge of `EDM` (sigma = sigma_max t), their VE bridge."""
    return Pinned(Doob(EDM(sigma_max)))


def brownian_bridge(variance: float = 1.0) -> Pinned:
    """Brownian motion of this variance pinned at both ends; 2 s for BBDM (arXiv:2205.07680)."""
    return Pinned(Straight(Root(variance)))


def interpolant(gamma: Curve | None = None) -> Pinned:
    """Stochastic interpolant between paired ends; gamma(t) = (2 t (1 - t))^(1/2) unless told.

    Albergo, Boffi & Vanden-Eijnden 2023, arXiv:2303.08797.
    """
    return Pinned(Straight(gamma or Root(2.0)))


def rddm(share: Curve | None = None, noise: Curve | None = None) -> ResidualDiffusion:
    """Residual diffusion: 1 - (1 - t)^2 of the residual and noise 0.1 t unless told.

    Liu et al. 2024, arXiv:2308.13712: their schedules for restoration, and the small noise at the
    source that goes with them (B(1)^2 = 0.01).
    """
    return ResidualDiffusion(Residual(share or Rest(), noise or Rise(top=0.1)))
