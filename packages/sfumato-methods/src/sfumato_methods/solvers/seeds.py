"""Exponential solvers of the reverse SDE for data prediction, in log-SNR.

With h the step in log(alpha/sigma) the reverse SDE has the exact solution

    x_s = (sigma_s/sigma_t) e^{-h} x_t + 2 alpha_s int_0^h e^{-2 (h - u)} D(u) du + noise

of variance sigma_s^2 (1 - e^{-2h}); the solvers differ in what they take for D, the posterior mean
along the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Frame, InputError, Multistep, Process, random
from sfumato.process import rows
from sfumato.sampling import Denoise, Point, Trajectory, times
from sfumato.state import Time, axpy, scale

from .ersde import REVERSE_SDE, extended, interior
from .linear import combine, noise, paces

__all__ = ["SEEDS", "SDEDPMSolverPP"]


@dataclass(frozen=True)
class SDEDPMSolverPP(Multistep):
    """SDE-DPM-Solver++(2M): D = D_i + (D_i - D_{i-1}) r/2 with r = h_i/h_{i-1}; one call a step.

    Lu et al. 2022, arXiv:2211.01095, algorithm 2 with the SDE updates of section 6 (its midpoint
    form). The first step, a step after a rest, and steps from or to an end where log-SNR is
    infinite are of first order: the transition law of `Ancestral` for a point estimate.
    """

    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN
    memory: ClassVar[int] = 2

    @property
    def deterministic(self) -> bool:
        return False

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data, std = extended(process, grid, REVERSE_SDE)
        slope = 0.5 * data * paces(process, grid)[1]
        return rows(grid, keep, std, data + slope, -slope)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: random.Source
    ) -> Any:
        return combine(row, process, past, generator)


@dataclass(frozen=True)
class SEEDS:
    """SEEDS-2 and SEEDS-3 for data prediction: stages inside a step on one path of the noise.

    Gonzalez et al. 2023, arXiv:2305.14267, with the midpoint (2 stages) or the points at a third
    and two thirds of the step in log-SNR (3 stages). As many calls a step as stages; one only where
    a step begins or ends where log-SNR is infinite.

    Args:
        stages: 2 or 3. With one stage it would be `Ancestral` with a point estimate.
    """

    stages: int = 2
    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.stages not in (2, 3):
            raise InputError(f"SEEDS has 2 or 3 stages, not {self.stages}")

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """Walk to the inner points with D held, then correct by how D changed."""
        clocks = times(grid)
        for i, (final, inner) in enumerate(self._plan(process, grid)):
            t, s = clocks[i], clocks[i + 1]
            q = denoiser(x, t)
            last, path = q.mean, None
            for time, row in inner:
                path = self._noise(process, x, path, row[3:], generator)
                guess = _held(row, x, q.mean, last, path)
                last = denoiser(guess, time).mean
            path = self._noise(process, x, path, final[3:], generator)
            x = yield Frame(t, s, x, q, _held(final, x, q.mean, last, path))

    @staticmethod
    def _noise(process: Any, x: Any, path: Any, row: Any, generator: random.Source) -> Any:
        """The path of the noise, carried on to the next point."""
        decay, std = row
        fresh = scale(std, noise(process, x, generator))
        return fresh if path is None else axpy(decay, path, fresh)

    def _plan(self, process: Any, grid: Tensor) -> list[tuple[Any, list[tuple[Any, Any]]]]:
        """For each step the final row, and the times and rows of its inner points.

        Rows are (keep, data, weight, decay, std): keep x + data D + weight (D_last - D), and how
        the noise goes on from the point before.
        """
        keep, data, std = extended(process, grid, REVERSE_SDE)
        inside, _ = interior(process, grid)
        usable = inside[1:] & inside[:-1] & (grid[1:] != grid[:-1])
        safe = torch.where(inside, grid, 0.5)
        half = 0.5 * process.logsnr(safe)
        h = torch.where(usable, half[1:] - half[:-1], 1.0)
        alpha, sigma = process.alpha(grid), process.sigma(grid)
        start = torch.where(usable, sigma[:-1], 1.0)
        columns, share, before = [], 0.0, start
        for j in range(1, self.stages):
            c = j / self.stages
            time = torch.where(usable, process.time(2 * (half[:-1] + c * h)), grid[:-1])
            own = torch.where(usable, process.sigma(time), 1.0)
            signal = process.alpha(time)
            decay, spread = _carried(own / before, (c - share) * h)
            weight = j * signal * _second(c * h) if j > 1 else torch.zeros_like(h)
            columns.append((
                time,
                torch.where(usable, own / start * (-c * h).exp(), 1.0),
                torch.where(usable, -signal * torch.expm1(-2 * c * h), 0.0),
                torch.where(usable, weight, 0.0),
                torch.where(usable, decay, 0.0),
                torch.where(usable, own * spread, 0.0),
            ))  # fmt: skip
            share, before = c, own
        end = torch.where(usable, sigma[1:], 1.0)
        decay, spread = _carried(end / before, (1 - share) * h)
        if self.stages == 2:  # D at the midpoint stands for the whole step
            weight = data
        else:
            weight = alpha[1:] * _second(h) / share
        final = rows(
            grid,
            keep,
            data,
            torch.where(usable, weight, 0.0),
            torch.where(usable, decay, 0.0),
            torch.where(usable, sigma[1:] * spread, std),
        )
        shared = grid.ndim == 1
        plans = [list(zip(column[0], rows(grid, *column[1:]), strict=True)) for column in columns]
        steps = list(zip(*plans, strict=True))
        needed = usable.tolist() if shared else [True] * len(final)
        return [
            (row, list(inner) if use else [])
            for row, inner, use in zip(final, steps, needed, strict=True)
        ]


def _carried(ratio: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """What becomes of noise over a step h, and the share of the variance that is new (its root)."""
    return ratio * (-h).exp(), (-torch.expm1(-2 * h)).sqrt()


def _second(h: Tensor) -> Tensor:
    """1 - (1 - e^{-2h})/(2h): weight of a slope that is 1 over the whole step."""
    return 1 + torch.expm1(-2 * h) / (2 * h)


def _held(row: Any, x: Any, mean: Any, last: Any, path: Any) -> Any:
    keep, data, weight, *_ = row
    y = axpy(data, mean, scale(keep, x)) + path
    return y if last is mean else axpy(weight, last - mean, y)
