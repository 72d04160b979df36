"""DPM-Solver++: exponential multistep solvers in log-SNR for data prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sfumato import Can, Multistep, Process
from sfumato.process import rows
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, axpy, scale

from .affine import exponential, half_logsnr_steps

__all__ = ["DPMSolverPP"]


@dataclass(frozen=True)
class DPMSolverPP(Multistep):
    """DPM-Solver++(2M): x_s = (sigma_s/sigma_t) x_t + (alpha_s - alpha_t sigma_s/sigma_t) D.

    D = (1 + r/2) x_0(t) - (r/2) x_0(t_before) with r the ratio of this step in log(alpha/sigma) to
    the last one (Lu et al. 2022, arXiv:2211.01095, algorithm 2). The first step, a step after a
    rest, and steps from or to an end where log-SNR is infinite are of first order.
    """

    needs: ClassVar[Can] = Can.AFFINE
    memory: ClassVar[int] = 2

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        h = half_logsnr_steps(process, grid)
        usable = h.isfinite() & (h != 0)
        h = torch.where(usable, h, 1.0)  # before the division: NaN would come back in gradients
        ratio = torch.where(usable[1:] & usable[:-1], 0.5 * h[1:] / h[:-1], 0.0)
        ratio = torch.cat([torch.zeros_like(h[:1]), ratio])
        return rows(grid, keep, data * (1 + ratio), -data * ratio)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        keep, now, before = row
        x = axpy(now, past[-1].posterior.mean, scale(keep, past[-1].x))
        if len(past) == 1:
            return x
        return axpy(before, past[0].posterior.mean, x)
