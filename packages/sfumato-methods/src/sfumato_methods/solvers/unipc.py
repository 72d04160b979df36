"""UniPC: a predictor of order p, and a corrector that costs no call of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sfumato import InputError
from sfumato.process import rows

from .affine import Combination, earlier, exponential, half_logsnr, noise_columns
from .exponential import (
    Predict,
    bounded,
    check_bound,
    check_order,
    check_predict,
    corrections,
    front,
    scaled_moments,
)

__all__ = ["Slope", "UniPC"]

Slope = Literal["exact", "expm1", "h"]
"""How a slope that only two values determine is integrated over a step."""


@dataclass(frozen=True)
class UniPC(Combination):
    """Predict with the last p values; with the next one, correct the step that led to it.

    Predictor and corrector are polynomials in log-SNR, integrated over the step: through the last p
    values, and through these and the new one, which was predicted at the uncorrected state (Zhao et
    al. 2023, arXiv:2302.04867, algorithms 5 to 8). The corrected state is the predicted one plus a
    combination of values, so that the whole is one planned combination and makes exactly one call
    a step. The state that arrives at the end is not corrected.

    For p unknowns and p equations their function B(h) cancels. It is left where they fix a single
    coefficient at 1/2: in predictors of order 2 and correctors of order 1, where the integral of u
    is taken as that of 1, by the middle.

    Args:
        order: p from 1 to 3; the order of convergence is p + 1.
        predict: "data" or "noise".
        slope: how a slope between two values is integrated: "expm1" as B_2(h) / 2 (theirs, "bh2"),
            "h" as B_1(h) / 2 (theirs, "bh1"), or "exact".
        bound: as for `ExponentialAB`, for the predictor.
    """

    order: int = 2
    predict: Predict = "data"
    slope: Slope = "expm1"
    bound: float = math.inf

    def __post_init__(self) -> None:
        check_order(self, self.order, 3)
        check_predict(self, self.predict)
        check_bound(self, self.bound)
        if self.slope not in get_args(Slope):
            raise InputError(f'UniPC: slope must be "exact", "expm1" or "h", but is {self.slope!r}')

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order + 1

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        steps = half_logsnr(process, grid)
        depth = steps.depth(self.order - 1)
        nodes = steps.nodes(self.order - 1, depth)
        powers = scaled_moments(process, grid, steps.h, self.order + 1, self.predict)
        depth = bounded(depth, powers, nodes, self.bound)
        middle = self._middle(powers, front(process, grid, steps.h, self.predict))

        predictor = corrections(_with(powers, middle, depth == 1), nodes, depth)
        exact = corrections(powers, nodes, depth)
        change = [torch.zeros_like(keep), *(e - p for e, p in zip(exact, predictor, strict=True))]
        for d in range(self.order):  # the new value adds one term to the Newton form
            reach = torch.full_like(depth, d + 1)
            ends = [*nodes[: d + 1], torch.ones_like(keep)]
            added = corrections(_with(powers, middle, reach == 1), ends, reach, first=d + 1)
            for j, weight in enumerate([added[-1], *added[:-1]]):
                change[j] = change[j] + torch.where(steps.usable & (depth == d), weight, 0.0)

        carry = torch.where(steps.usable, self._carry(process, grid, keep), 0.0)
        weights = [
            p + carry * earlier(c, 1)
            for p, c in zip([*predictor, torch.zeros_like(keep)], change, strict=True)
        ]
        if self.predict == "noise":
            return rows(grid, *noise_columns(process, grid, keep, data, weights))
        return rows(grid, keep, data + weights[0], *weights[1:])

    def _middle(self, powers: Sequence[Tensor], factor: Tensor) -> Tensor:
        """The integral of u as the slope of two values is given it."""
        if self.slope == "exact":
            return powers[1]
        return 0.5 * (powers[0] if self.slope == "expm1" else factor)

    def _carry(self, process: Any, grid: Tensor, keep: Tensor) -> Tensor:
        """What becomes of a change of the state in a step, the prediction held."""
        if self.predict == "data":
            return keep
        alpha = process.alpha(grid)
        ratio: Tensor = alpha[1:] / torch.where(alpha[:-1] > 0, alpha[:-1], 1.0)
        return ratio


def _with(powers: Sequence[Tensor], slope: Tensor, where: Tensor) -> list[Tensor]:
    """The integrals of powers, that of u exchanged in places."""
    return [powers[0], torch.where(where, slope, powers[1]), *powers[2:]]
