"""A flexible diffusion model: which directions are noised, and how they turn, is learned."""

from __future__ import annotations

__all__ = ["FPDiff", "Move"]

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sfumato import Can, Dirac, Implicit, InputError, Law, Mixture, Normal, Process
from sfumato.process import CLOCK_LIMIT
from sfumato.state import Time

from ..gaussian import VP, Table
from .matrix import FullNormal, turned


class Move(NamedTuple):
    """q(x_s | x_0, x_t) = N(data x_0 + keep x_t, factor factor^T): (D, D) or (B, D, D) matrices."""

    data: Tensor
    keep: Tensor
    factor: Tensor


class FPDiff(Process):
    """dx = -(beta/2) (R + w) x dt + (beta R)^(1/2) dW, R positive, w skew, both learned.

    Du et al. 2022, arXiv:2206.10365, with R and w that do not depend on x: every such equation, and
    none other of this form, has N(0, I) at rest. With B(t) = int_0^t beta and M(t) =
    exp(-B (R + w)/2)

        q(x_t | x_0) = N(M x_0, I - M M^T)

    by the matrix exponential in float64. R = diag(exp(d)) + U U^T (their FP-Noise), w = V - V^T
    (FP-Drift); R = I, w = 0 is `Gaussian` under the same schedule. States are tensors (B, ...) of
    D numbers an item; a matrix is D x D, so this is for some hundreds of numbers.

    Args:
        dimensions: D.
        schedule: gives beta = -2 d log(alpha)/dt.
        rank: columns of U.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.LIKELIHOOD
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, FullNormal, Mixture, Implicit)

    def __init__(self, dimensions: int, schedule: VP | Table | None = None, rank: int = 1) -> None:
        super().__init__()
        if not 0 <= rank <= dimensions:
            raise InputError(
                f"FPDiff: the rank must lie between 0 and the {dimensions} dimensions, not {rank}"
            )
        self.dimensions = dimensions
        self.schedule = VP() if schedule is None else schedule
        self.diagonal = nn.Parameter(torch.zeros(dimensions, dtype=torch.float64))
        # not zero, where U U^T has no slope
        self.factor = nn.Parameter(0.1 * torch.eye(dimensions, rank, dtype=torch.float64))
        self.skew = nn.Parameter(torch.zeros(dimensions, dimensions, dtype=torch.float64))

    def extra_repr(self) -> str:
        return f"{self.dimensions}, {self.schedule!r}, rank={self.factor.shape[1]}"

    def spread(self) -> Tensor:
        """R, (D, D) symmetric and positive definite."""
        return torch.diag(self.diagonal.double().exp()) + self.factor.double() @ self.factor.T

    def turn(self) -> Tensor:
        """w, (D, D) skew."""
        return (self.skew - self.skew.T).double()

    def clock(self, t: Time) -> Tensor:
        u = _one_clock(t)
        twice = 2 * self.schedule.log_alpha(u)
        logsnr = twice - (-torch.expm1(twice)).log()
        return (-0.5 * logsnr).clamp(-CLOCK_LIMIT, CLOCK_LIMIT)

    def _travel(self, age: Tensor) -> tuple[Tensor, Tensor]:
        """(M, I - M M^T) after int beta = age; (D, D) matrices of each age.

        Of E = M - I = X phi(X), which comes from the exponential of [[X, I], [0, 0]]: near age 0
        the covariance -(E + E^T + E E^T) keeps all its digits.
        """
        count = self.dimensions
        speed = -0.5 * age[..., None, None] * (self.spread() + self.turn()).to(age.device)
        one = torch.eye(count, dtype=torch.float64, device=age.device)
        top = torch.cat([speed, one.expand_as(speed)], -1)
        phi = torch.linalg.matrix_exp(torch.cat([top, torch.zeros_like(top)], -2))
        move = speed @ phi[..., :count, count:]
        covariance = -(move + move.mT + move @ move.mT)
        return move + one, covariance

    def _age(self, t: Tensor) -> Tensor:
        return -2 * self.schedule.log_alpha(t)

    def prior(self, like: Tensor) -> FullNormal:
        one = torch.eye(self.dimensions, dtype=torch.float64, device=like.device)
        return FullNormal(torch.zeros_like(self._checked(like)), one)

    def marginal(self, x0: Tensor, t: Time) -> FullNormal:
        u = _one_clock(t).to(x0.device)
        move, covariance = self._travel(self._age(u))
        return FullNormal(turned(move, self._checked(x0)), _root(covariance, u > 0))

    def _move(self, t: Tensor, s: Tensor) -> Move:
        rest, noisy = (s == t)[..., None, None], (t > 0)[..., None, None]
        (to_t, cov_t), (to_s, cov_s) = self._travel(self._age(t)), self._travel(self._age(s))
        onward, fresh = self._travel(self._age(t) - self._age(s))
        one = torch.eye(self.dimensions, dtype=torch.float64, device=t.device)
        gain = torch.linalg.solve(torch.where(noisy, cov_t, one), onward @ cov_s).mT
        left = one - gain @ onward
        covariance = left @ cov_s @ left.mT + gain @ fresh @ gain.mT
        keep = torch.where(rest, one, gain)
        data = torch.where(rest, 0.0, to_s - gain @ to_t)
        return Move(data, keep, _root(covariance, (s > 0) & (s < t)))

    def plan(self, grid: Time) -> Sequence[Move]:
        u = _one_clock(grid)
        columns = self._move(u[:-1], u[1:])
        return [Move(*row) for row in zip(*columns, strict=True)]

    def bridge(self, x0: Tensor, x: Tensor, t: Time, s: Time, row: Move | None = None) -> Law:
        data, keep, factor = row or self._between(x, t, s)
        return FullNormal(turned(keep, x) + turned(data, x0), factor)

    def _between(self, x: Tensor, t: Time, s: Time) -> Move:
        return self._move(_one_clock(t).to(x.device), _one_clock(s).to(x.device))

    def transition(self, q: Any, x: Tensor, t: Time, s: Time, row: Move | None = None) -> Law:
        row = row or self._between(x, t, s)
        if isinstance(q, Dirac):
            return self.bridge(q.mean, x, t, s, row)
        if isinstance(q, Mixture):
            return Mixture(q.probs, [self.transition(p, x, t, s, row) for p in q.parts])
        if isinstance(q, Normal):
            wide = torch.zeros_like(q.mean) + q.std
            q = FullNormal(q.mean, torch.diag_embed(wide.double().flatten(1)))
        if isinstance(q, FullNormal):
            spread = row.data @ q.factor
            both = spread @ spread.mT + row.factor @ row.factor.mT
            moves = (row.keep - torch.eye(self.dimensions).to(row.keep)).abs().sum((-1, -2)) > 0
            mean = turned(row.keep, x) + turned(row.data, q.mean)
            return FullNormal(mean, _root(both, moves.expand(both.shape[:-2])))
        return super().transition(q, x, t, s, row)

    def _score_maps(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(P, P M), P the precision at t: the score is P M E[x_0] - P x. Not at t = 0."""
        move, covariance = self._travel(self._age(t))
        one = torch.eye(self.dimensions, dtype=torch.float64, device=t.device)
        safe = torch.where((t > 0)[..., None, None], covariance, one)
        precision = torch.linalg.inv(safe)
        return precision, precision @ move

    def plan_velocity(self, grid: Time) -> Sequence[tuple[Tensor, Tensor]]:
        u = _one_clock(grid)
        return list(zip(*self._flow(u), strict=True))

    def _flow(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (of x_0, of x) whose sum is the probability flow."""
        half = self.schedule.log_alpha_rate(t)[..., None, None]  # -beta/2
        spread, turn = self.spread().to(t.device), self.turn().to(t.device)
        precision, data = self._score_maps(t)
        return half * (spread @ data), half * (spread + turn - spread @ precision)

    def velocity(
        self, q: Any, x: Tensor, t: Time, row: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        data, own = row or self._flow(_one_clock(t).to(x.device))
        return turned(data, q.mean) + turned(own, x)

    def score(self, q: Any, x: Tensor, t: Time) -> Tensor:
        precision, data = self._score_maps(_one_clock(t).to(x.device))
        return turned(data, q.mean) - turned(precision, x)

    def rate(self, x0: Tensor, q: Any, x: Tensor, t: Tensor) -> Tensor:
        """(B,) nats of the bound per unit of time at (x, t): (beta/2) |score gap|^2 in R."""
        u = _one_clock(t).to(x.device)
        gap = turned(self._score_maps(u)[1], (x0 - q.mean).double())
        wide = (gap * turned(self.spread().to(gap.device), gap)).flatten(1).sum(1)
        return -self.schedule.log_alpha_rate(u) * wide

    def decode(self, q: Any, t: Tensor) -> FullNormal:
        """A density of x_0 from a point estimate at a small t: as wide as the noise, M^-1 L."""
        u = _one_clock(t).to(q.mean.device)
        move, covariance = self._travel(self._age(u))
        return FullNormal(q.mean, torch.linalg.solve(move, _root(covariance, u > 0)))

    def _checked(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x[:1].numel() != self.dimensions * len(x[:1]):
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"{self} takes tensors of {self.dimensions} numbers an item, not {shape}"
            )
        return x


def _root(covariance: Tensor, positive: Tensor) -> Tensor:
    """Lower factors of covariances; zero where they are not positive, as at the ends of time."""
    some = positive[..., None, None]
    one = torch.eye(covariance.shape[-1], dtype=torch.float64, device=covariance.device)
    root: Tensor = torch.linalg.cholesky(torch.where(some, covariance, one))
    return torch.where(some, root, 0.0)


def _one_clock(t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("this process has one clock, but was given a mapping of times")
    return t.double()
