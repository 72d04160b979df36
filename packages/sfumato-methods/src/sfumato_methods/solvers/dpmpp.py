"""DPM-Solver++: exponential multistep solvers in log-SNR for data prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sfumato import InputError
from sfumato.process import rows

from .affine import Combination, exponential, half_logsnr
from .exponential import corrections, scaled_moments

__all__ = ["DPMSolverPP"]


@dataclass(frozen=True)
class DPMSolverPP(Combination):
    """DPM-Solver++(2M), (3M): x_s = (sigma_s/sigma_t) x_t + (alpha_s - alpha_t sigma_s/sigma_t) D.

    Order 2: D = (1 + r/2) x_0(t) - (r/2) x_0(t_before) with r the ratio of this step in
    log(alpha/sigma) to the last one (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    Order 3: the Taylor expansion of their eq. 9 with the first two derivatives from divided
    differences, which is the integrated parabola through the last three predictions. (The released
    code and its descendants halve the second derivative once too often, and are of order 2.)

    The first step, a step after a rest, and steps from or to an end where log-SNR is infinite are
    of first order.

    Args:
        order: 2 or 3.
    """

    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise InputError(f"DPMSolverPP: order must be 2 or 3, but is {self.order}")

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        steps = half_logsnr(process, grid)
        depth = steps.depth(self.order - 1)
        nodes = steps.nodes(self.order - 1, depth)
        powers = [data, 0.5 * data]
        if self.order == 3:
            powers = scaled_moments(process, grid, steps.h, 3, "data")
        weights = corrections(powers, nodes, depth)
        return rows(grid, keep, data + weights[0], *weights[1:])
