"""What solvers share that choose their own steps: one error and one step for each item."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Unsupported
from sfumato.sampling import Denoise
from sfumato.state import Time, apply, item_count, item_sum, items

__all__ = ["Budget", "check_tolerances", "item_error", "per_item", "step_factor"]

_SAFETY, _SHORTEST, _LONGEST = 0.9, 0.2, 5.0


def check_tolerances(owner: object, atol: float, rtol: float, calls: int) -> None:
    """Raise `InputError` if tolerances or the number of calls make no sense."""
    name = type(owner).__name__
    if not (0 <= rtol < math.inf and 0 <= atol < math.inf and atol + rtol > 0):
        raise InputError(f"{name}: atol and rtol must be positive, but are {atol} and {rtol}")
    if calls < 1:
        raise InputError(f"{name}: calls must be at least 1, but is {calls}")


def per_item(owner: object, grid: Time, x: Any) -> Tensor:
    """The grid with a time for each item, (N + 1, B).

    Raises:
        Unsupported: for a time for each frame or field.
    """
    if not isinstance(grid, Tensor) or grid.ndim > 2:
        raise Unsupported(
            f"{type(owner).__name__} chooses its steps item by item; it takes a time for all or "
            "for each item, not for each frame or field. Use a solver with a fixed grid"
        )
    return (grid[:, None] if grid.ndim == 1 else grid).expand(-1, items(x))


class Budget:
    """Counts the calls of one trajectory.

    Args:
        owner: the solver, with the most calls that it may make as `calls`.
        denoiser: what is called.
    """

    def __init__(self, owner: Any, denoiser: Denoise) -> None:
        self._owner = owner
        self._denoiser = denoiser
        self._left = owner.calls

    def call(self, x: Any, t: Tensor) -> Any:
        """The posterior at (x, t).

        Raises:
            InputError: if all calls are used.
        """
        if self._left == 0:
            raise InputError(
                f"{self._owner} has used its {self._owner.calls} calls before it came to the end "
                "of the grid; allow more, or a larger atol or rtol"
            )
        self._left -= 1
        return self._denoiser(x, t)


def item_error(low: Any, high: Any, x: Any, atol: float, rtol: float) -> Tensor:
    """(B,) root mean square of (high - low) / max(atol, rtol |high|, rtol |x|), float64.

    Cut from the graph: a gradient goes through the steps taken, not through their choice.
    """

    def squared(a: Tensor, b: Tensor, before: Tensor) -> Tensor:
        size = rtol * torch.maximum(b.abs(), before.abs()).double()
        return ((b.double() - a.double()) / size.clamp_min(max(atol, 1e-300))).square()

    total = item_sum(apply(low, squared, high, x)).detach()
    return (total / item_count(x).clamp_min(1)).sqrt()


def step_factor(error: Tensor, order: int) -> Tensor:
    """By how much the next step is longer: 0.9 error^(-1/order), between 0.2 and 5.

    By exp and log, which round an item alone as they do in a batch; a power does not.
    """
    return (_SAFETY * (error.clamp_min(1e-12).log() / -order).exp()).clamp(_SHORTEST, _LONGEST)
