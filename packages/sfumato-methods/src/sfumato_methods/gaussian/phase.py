r"""Processes on coupled copies of the data: x with velocities v, v2, ..., Gaussian given x_0.

The state is `Fields(x=..., v=...)`, K fields that each look like the data. All laws couple the
fields element by element with one K x K matrix a time:

    q(u_t | x_0) = N(a_t x_0, L_t L_t^T),     q(u_s | x_0, u_t) = N(c x_0 + P u_t, G G^T).

The velocities at t = 0 are integrated out. Since the noise is the same for all elements,
y = w^T u with w along S^-1 a, S = L L^T, is sufficient for x_0. Scaled to unit variance it is
y = alpha x_0 + sigma eps with alpha^2 + sigma^2 = 1 and alpha^2 / sigma^2 = a^T S^-1 a. So
E[x_0 | u_t] is a function of y alone, and a network needs to see no more than the data's own shape:
`observed` is the process of y, `observe` makes y, and `Observing` turns a denoiser of y into a
denoiser of u.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from sfumato import (
    Can,
    Denoiser,
    Dirac,
    Fields,
    Implicit,
    InputError,
    Law,
    Mixture,
    Normal,
    Posterior,
    Process,
    expand,
)
from sfumato.laws import Space, filled
from sfumato.state import Time, apply, axpy, scale

from .coupled import Coupled
from .process import Gaussian

__all__ = ["Observed", "Observing", "Phase", "PhaseStep", "shown"]

NAMES = ("x", "v", "v2", "v3")


class PhaseStep(NamedTuple):
    """q(u_s | x_0, u_t): K numbers and two K x K matrices, floats or time-shaped tensors."""

    data: Sequence[Any]
    keep: Sequence[Sequence[Any]]
    factor: Sequence[Sequence[Any]]


class Phase(Process):
    """Base: subclasses give the matrices of the marginal, of a step and of the flow.

    Args:
        copies: K, from 1 to 4.
        space: subspace of the noise; the data must lie in it. None: all of it.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.LIKELIHOOD
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, Mixture, Implicit)

    def __init__(self, copies: int, space: Space | None = None) -> None:
        super().__init__()
        if copies not in range(1, len(NAMES) + 1):
            raise InputError(f"a state has 1 to {len(NAMES)} coupled copies, not {copies}")
        self.names = NAMES[:copies]
        self.space = space

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(..., K) a and (..., K, K) lower factor L of q(u_t | x_0), float64."""
        raise NotImplementedError

    def step(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., K) c, (..., K, K) P and lower factor G of q(u_s | x_0, u_t), for 0 <= s <= t."""
        raise NotImplementedError

    def flow(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(..., K) c and (..., K, K) F of the probability flow du/dt = c x_0 + F u."""
        raise NotImplementedError

    def direction(self, t: Tensor) -> Tensor:
        """(..., K) along a, and never zero."""
        return self.moments(t)[0]

    @property
    def observed(self) -> Gaussian:
        """Y = alpha(t) x_0 + sigma(t) eps, the process of what `observe` returns."""
        return Gaussian(Observed(self), self.space)

    def observe(self, u: Fields, t: Time) -> Any:
        """y, like the data: all that u_t says about x_0; x_0 itself at t = 0."""
        weights = self._weights(_one_clock(t)).unbind(-1)
        terms = [scale(w, part) for w, part in zip(weights, self._parts(u), strict=True)]
        return sum(terms[1:], start=terms[0])

    def _weights(self, t: Tensor) -> Tensor:
        clean = t == 0
        at = torch.where(clean, 0.5, t)
        a, factor = self.moments(at)
        white = _solve(factor, self.direction(at).to(factor))
        snr = _solve(factor, a).square().sum(-1)
        row = torch.linalg.solve_triangular(factor.mT, white[..., None], upper=True)[..., 0]
        size = white.square().sum(-1) * (1 + snr)
        data = torch.zeros_like(row)
        data[..., 0] = 1.0
        return torch.where(clean[..., None].to(row.device), data, row / size.sqrt()[..., None])

    def clock(self, t: Time) -> Tensor:
        return self.observed.clock(t)

    def project(self, x: Any) -> Any:
        return x[self.names[0]] if isinstance(x, Fields) else x

    def _parts(self, u: Any) -> list[Any]:
        if not isinstance(u, Fields) or tuple(u) != self.names:
            got = f"fields {', '.join(u)}" if isinstance(u, Fields) else type(u).__name__
            raise InputError(f"a state of {self} has the fields {', '.join(self.names)}, not {got}")
        return [u[name] for name in self.names]

    def prior(self, like: Any) -> Coupled:
        blank = apply(self.project(like), torch.zeros_like)
        return self.marginal(blank, torch.ones((), dtype=torch.float64))

    def marginal(self, x0: Any, t: Time) -> Coupled:
        if isinstance(x0, Fields):
            raise InputError(
                f"{self} noises one state, but the data has the fields {', '.join(x0)}; use a "
                "Product with a process for each"
            )
        a, factor = self.moments(_one_clock(t))
        mean = Fields(
            {name: scale(c, x0) for name, c in zip(self.names, a.unbind(-1), strict=True)}
        )
        return Coupled(mean, _aligned(_matrix(factor), x0), None, self.space)

    def plan(self, grid: Time) -> Sequence[PhaseStep]:
        times = _one_clock(grid)
        columns = self.step(times[:-1], times[1:])
        if _plain(times, columns):
            return [PhaseStep(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
        return [_as_step(*row) for row in zip(*columns, strict=True)]

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: PhaseStep | None = None) -> Coupled:
        return self._bridge(x0, x, row or self._step(t, s))

    def _step(self, t: Time, s: Time) -> PhaseStep:
        return _as_step(*self.step(_one_clock(t), _one_clock(s)))

    def _bridge(
        self, x0: Any, x: Any, row: PhaseStep, common: Sequence[Any] | None = None
    ) -> Coupled:
        parts = self._parts(x)
        mean = {
            name: _sum(c, x0, keep, parts)
            for name, c, keep in zip(self.names, row.data, row.keep, strict=True)
        }
        return Coupled(Fields(mean), _aligned(row.factor, parts[0]), common, self.space)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: PhaseStep | None = None) -> Law:
        row = row or self._step(t, s)
        if isinstance(q, Dirac):
            return self._bridge(q.mean, x, row)
        if isinstance(q, Normal):
            std = filled(q.mean, q.std)
            return self._bridge(q.mean, x, row, [scale(c, std) for c in row.data])
        if isinstance(q, Mixture):
            return Mixture(q.probs, [self.transition(p, x, t, s, row) for p in q.parts])
        return super().transition(q, x, t, s, row)

    def plan_velocity(self, grid: Time) -> Sequence[Any]:
        times = _one_clock(grid)
        columns = self.flow(times)
        if _plain(times, columns):
            return list(zip(*(c.tolist() for c in columns), strict=True))
        return [_as_flow(*row) for row in zip(*columns, strict=True)]

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Fields:
        data, keep = row or _as_flow(*self.flow(_one_clock(t)))
        parts, mean = self._parts(x), q.mean
        return Fields(
            {
                name: _sum(c, mean, line, parts)
                for name, c, line in zip(self.names, data, keep, strict=True)
            }
        )

    def score(self, q: Any, x: Any, t: Time) -> Fields:
        a, factor = self.moments(_one_clock(t))
        eye = torch.eye(len(self.names)).to(factor).expand_as(factor)
        root = torch.linalg.solve_triangular(factor, eye, upper=False)
        inverse = root.mT @ root
        pull = (inverse @ a[..., None])[..., 0]
        parts, mean = self._parts(x), q.mean
        return Fields(
            {
                name: _sum(c, mean, line, parts)
                for name, c, line in zip(self.names, _vector(pull), _matrix(-inverse), strict=True)
            }
        )


class Observed:
    """The schedule of what a `Phase` process shows of its data, see the module.

    Args:
        process: the process that is observed.
    """

    knots: ClassVar[int] = 512
    reach: ClassVar[float] = 16.0
    """The table that the inverse starts from covers logit t in [-16, 16]."""

    def __init__(self, process: Phase) -> None:
        self.process = process

    def __repr__(self) -> str:
        return f"Observed({self.process!r})"

    def _snr(self, t: Tensor) -> Tensor:
        """a^T S^-1 a; infinite at t = 0."""
        a, factor = self.process.moments(torch.where(t > 0, t, 1.0))
        return torch.where(t > 0, _solve(factor, a).square().sum(-1).to(t.device), torch.inf)

    def alpha(self, t: Tensor) -> Tensor:
        """(1 + 1/SNR)^(-1/2)."""
        return (1 + 1 / self._snr(t)).rsqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """(1 + SNR)^(-1/2)."""
        return (1 + self._snr(t)).rsqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """From d SNR/dt = 2 c^T S^-1 a with the c of the flow."""
        a, factor = self.process.moments(t)
        white, along = _solve(factor, a), _solve(factor, self.process.direction(t).to(factor))
        pull = _solve(factor, self.process.flow(t)[0])
        slow = (1 + white.square().sum(-1)) ** -1.5
        data = slow * (pull * along).sum(-1) / along.square().sum(-1).sqrt()
        return data.to(t.device), (-slow * (pull * white).sum(-1)).to(t.device)

    def logsnr(self, t: Tensor) -> Tensor:
        """log(a^T S^-1 a), infinite at t = 0 (and -infinite where a is 0)."""
        return self._snr(t).log()

    def time(self, logsnr: Tensor) -> Tensor:
        """Inverse of `logsnr`: a table in logit t, then Newton's method; within [0, 1]."""
        wanted = logsnr.double()
        with torch.no_grad():
            knots = torch.linspace(-self.reach, self.reach, self.knots, dtype=torch.float64)
            knots = knots.to(wanted.device)
            table = self.logsnr(knots.sigmoid())
            right = torch.searchsorted(-table, -wanted).clamp(1, self.knots - 1)
            low, high = knots[right - 1], knots[right]
            share = (wanted - table[right - 1]) / (table[right] - table[right - 1])
            u = low + share * (high - low)
            inside = (share >= 0) & (share <= 1)
            for _ in range(4):
                t = torch.where(inside, u, 0.0).sigmoid()
                a, factor = self.process.moments(t)
                white, pull = _solve(factor, a), _solve(factor, self.process.flow(t)[0])
                snr = white.square().sum(-1)
                slope = 2 * (pull * white).sum(-1) / snr * (t * (1 - t)).to(snr)
                moved = u - ((snr.log() - wanted.to(snr)) / slope).to(u)
                u = torch.where(inside, torch.maximum(torch.minimum(moved, high), low), u)
        return torch.where(wanted == torch.inf, 0.0, u.sigmoid())


class Observing(Denoiser):
    """A denoiser of coupled states, made from one of what they show of the data.

    Args:
        inner: a denoiser for `process.observed`.
        process: a `Phase` process.
    """

    def __init__(self, inner: Denoiser, process: Phase) -> None:
        super().__init__()
        self.inner = inner
        self.process = process

    def forward(self, x: Any, t: Time) -> Posterior:
        seen: Posterior = self.inner(self.process.observe(x, t), t)
        return seen

    def given(self, **condition: Any) -> Self:
        return type(self)(self.inner.given(**condition), self.process)


def _plain(grid: Tensor, columns: Sequence[Tensor]) -> bool:
    """Whether a plan may hold floats: one shared grid, and nothing to differentiate."""
    return grid.ndim == 1 and not any(c.requires_grad for c in columns)


def _one_clock(t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("coupled states have one clock, but were given a mapping of times")
    return t.double()


def _vector(c: Tensor) -> list[Any]:
    return list(c.unbind(-1))


def _matrix(c: Tensor) -> list[list[Any]]:
    return [_vector(row) for row in c.unbind(-2)]


def _as_step(data: Tensor, keep: Tensor, factor: Tensor) -> PhaseStep:
    return PhaseStep(_vector(data), _matrix(keep), _matrix(factor))


def _as_flow(data: Tensor, keep: Tensor) -> tuple[Any, Any]:
    return _vector(data), _matrix(keep)


def _aligned(factor: Sequence[Sequence[Any]], like: Any) -> Sequence[Sequence[Any]]:
    """The entries as they multiply a field."""
    if type(factor[0][0]) is float:  # then all are
        return factor
    return [[expand(like, c) for c in row] for row in factor]


def _sum(c: Any, x0: Any, keep: Sequence[Any], parts: Sequence[Any]) -> Any:
    total = scale(c, x0)
    for k, part in zip(keep, parts, strict=True):
        if type(k) is float and isinstance(total, Tensor):
            total.add_(part, alpha=k)
        else:
            total = axpy(k, part, total)
    return total


def _solve(factor: Tensor, x: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve_triangular(factor, x[..., None], upper=False)[..., 0]
    return solved


def shown(process: Process) -> Any:
    """What a process shows of its data at each noise level: of a coupled one `observed`."""
    return process.observed if isinstance(process, Phase) else process
