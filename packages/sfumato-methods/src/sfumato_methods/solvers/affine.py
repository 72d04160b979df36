"""What solvers in alpha and sigma share: one exponential step, and what is planned around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, Dirac, Multistep, Process
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, scale

from ..terms import plus

__all__ = [
    "Combination", "Steps", "at_start", "earlier", "exponential", "half_logsnr", "noise_columns",
    "rates", "scales",
]  # fmt: skip


def exponential(process: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """(keep, data): x_s = keep x_t + data x_0 with eps held; exactly (1, 0) where time rests."""
    alpha, sigma = scales(process, grid)
    rest = grid[1:] == grid[:-1]
    noise = torch.where(sigma[:-1] > 0, sigma[:-1], torch.where(rest, 1.0, sigma[:-1]))
    keep = torch.where(rest, 1.0, sigma[1:] / noise)
    return keep, torch.where(rest, 0.0, alpha[1:] - keep * alpha[:-1])


def scales(process: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma, held constant where there is no noise: there sigma'(t) may be infinite."""
    fixed = grid.detach()
    alpha, sigma = process.alpha(fixed), process.sigma(fixed)
    if not grid.requires_grad:
        return alpha, sigma
    clean = sigma == 0
    inner = torch.where(clean, 0.5, grid)
    return (
        torch.where(clean, alpha, process.alpha(inner)),
        torch.where(clean, sigma, process.sigma(inner)),
    )


def rates(process: Any, time: Tensor) -> tuple[Tensor, Tensor]:
    """(a, b) of the probability flow dx/dt = a D + b x, read off at two states."""
    one, zero = torch.ones_like(time), torch.zeros_like(time)
    return (
        process.velocity(Dirac(one), zero, time),
        process.velocity(Dirac(zero), one, time),
    )


class Steps(NamedTuple):
    """The steps of a grid (N + 1, ...) in a coordinate in which they may be extrapolated.

    Attributes:
        at: (N + 1, ...) the coordinate; any finite number where it is infinite.
        h: (N, ...) its steps; 1 where they are not usable.
        usable: (N, ...) bool: the coordinate is finite at both ends and moves between them.
    """

    at: Tensor
    h: Tensor
    usable: Tensor

    @classmethod
    def of(cls, grid: Tensor, at: Tensor, finite: Tensor) -> Steps:
        """From a coordinate and where it is finite."""
        h = at.diff(dim=0)
        usable = finite[1:] & finite[:-1] & (grid[1:] != grid[:-1]) & (h.detach() != 0)
        return cls(at, torch.where(usable, h, 1.0), usable)

    def depth(self, most: int) -> Tensor:
        """(N, ...) number of usable steps directly before each usable one, at most `most`."""
        run, depth = self.usable.long(), torch.zeros_like(self.usable, dtype=torch.long)
        for back in range(1, most + 1):
            run = run * earlier(self.usable, back)
            depth = depth + run
        return depth

    def nodes(self, most: int, depth: Tensor) -> list[Tensor]:
        """Positions of this and the `most` points before, in units of the step: 0, -h_1/h, ...

        Where there are fewer than that, the positions are arbitrary, but all different.
        """
        found = [torch.zeros_like(self.h)]
        for back in range(1, most + 1):
            u = (earlier(self.at[:-1], back) - self.at[:-1]) / self.h
            found.append(torch.where(depth >= back, u, float(1 + back)))
        return found


def earlier(column: Tensor, back: int) -> Tensor:
    """What stood `back` rows before in a column; 0 before its first row."""
    count = min(back, len(column))
    return torch.cat([torch.zeros_like(column[:count]), column[: len(column) - count]])


def half_logsnr(process: Any, grid: Tensor) -> Steps:
    """The steps of a grid in log(alpha/sigma)."""
    finite = process.logsnr(grid.detach()).isfinite()
    return Steps.of(grid, 0.5 * process.logsnr(torch.where(finite, grid, 0.5)), finite)


def at_start(process: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """(1/sigma, alpha/sigma) at the start of each step: eps = x / sigma - x_0 alpha / sigma."""
    alpha, sigma = scales(process, grid[:-1])
    precision = 1 / torch.where(sigma > 0, sigma, 1.0)
    return precision, alpha * precision


def noise_columns(
    process: Any, grid: Tensor, keep: Tensor, data: Tensor, weights: Sequence[Tensor]
) -> list[Tensor]:
    """Columns of a `Combination` that adds sum_j w_j eps_j to keep x_t + data x_0.

    The noise of the j-th last point is (x_j - alpha_j D_j) / sigma_j; a weight that stands for a
    point without noise, or for none at all, has to be 0.
    """
    precision, signal = at_start(process, grid)
    states = [w * earlier(precision, j) for j, w in enumerate(weights)]
    means = [-w * earlier(signal, j) for j, w in enumerate(weights)]
    return [keep + states[0], *states[1:], data + means[0], *means[1:]]


class Combination(Multistep):
    """Base of solvers whose new state is a planned combination of recent states and means.

    x_s = sum_j a_j x_j + sum_j d_j D_j over the last `memory` points, the newest first. A row holds
    the a_j (those of the oldest points may be missing) and then the `memory` numbers d_j.
    """

    needs: ClassVar[Can] = Can.AFFINE

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        split = len(row) - self.memory
        _, x, q = past[-1]
        x = plus(row[split], q.mean, scale(row[0], x))
        for back in range(2, len(past) + 1):
            point = past[-back]
            if back <= split:
                x = plus(row[back - 1], point.x, x)
            x = plus(row[split + back - 1], point.posterior.mean, x)
        return x
