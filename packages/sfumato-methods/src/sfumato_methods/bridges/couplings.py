"""Mini-batch couplings: which source goes with which item, by optimal transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sfumato import InputError, random
from sfumato.random import Source

__all__ = ["Coupling", "Sinkhorn", "assignment", "costs"]

Coupling: TypeAlias = Callable[[Any, Any, Source], Tensor]
"""Maps (x0, x1, generator) to (B,) long: item i goes with source order[i]."""


def costs(x0: Any, x1: Any) -> Tensor:
    """(B, B) squared distances of all items to all sources, float64.

    Raises:
        InputError: unless both are tensors of as many numbers.
    """
    if not (isinstance(x0, Tensor) and isinstance(x1, Tensor) and x0.shape == x1.shape):
        raise InputError(
            "a coupling needs items and sources of one shape, as tensors; got "
            f"{_shape(x0)} and {_shape(x1)}"
        )
    a, b = x0.flatten(1).double(), x1.flatten(1).double()
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def _shape(x: Any) -> Any:
    return tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__


def assignment(x0: Any, x1: Any, generator: Source) -> Tensor:
    """The permutation of the sources with the least sum of squared distances; it draws nothing.

    Pooladian et al. 2023, arXiv:2304.14772; Tong et al. 2023, arXiv:2302.00482. O(B^3), some 50 ms
    for 500 items: on average over batches it approaches optimal transport as B grows.
    """
    from scipy.optimize import linear_sum_assignment

    _, order = linear_sum_assignment(costs(x0, x1).cpu().numpy())
    return torch.from_numpy(order).to(x0.device)


@dataclass(frozen=True)
class Sinkhorn:
    """Sources drawn from the plan of entropic optimal transport, row by row.

    The plan P = exp((f_i + g_j - C_ij)/e) with equal marginals minimises <P, C> + e KL(P || 1/B^2)
    (Cuturi 2013, arXiv:1306.0895); f and g are found by alternating projections in log space. A
    source may go with several items: over many batches each goes with one on average.

    Args:
        epsilon: e in units of the mean cost.
        iterations: most projections of each side.
        tolerance: they end when no row is off its marginal by more than this share.
    """

    epsilon: float = 0.05
    iterations: int = 1000
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and self.iterations > 0 and self.tolerance > 0):
            raise InputError(
                "Sinkhorn takes epsilon, iterations and tolerance above 0, not "
                f"{self.epsilon}, {self.iterations} and {self.tolerance}"
            )

    def plan(self, cost: Tensor) -> Tensor:
        """(B, B) float64, columns summing to 1/B exactly and rows to within the tolerance."""
        rise = -cost / (self.epsilon * cost.mean().clamp_min(torch.finfo(cost.dtype).tiny))
        f, g, flat = (torch.zeros_like(rise[:, 0]) for _ in range(3))
        for _ in range(self.iterations):
            f = -(rise + g).logsumexp(1)
            g = -(rise + f[:, None]).logsumexp(0)
            off = (rise + f[:, None] + g).logsumexp(1)
            if bool(((off - flat).abs() <= self.tolerance).all()):
                break
        plan: Tensor = (rise + f[:, None] + g).exp() / len(cost)
        return plan

    def __call__(self, x0: Any, x1: Any, generator: Source) -> Tensor:
        order: Tensor = random.categorical(self.plan(costs(x0, x1)), generator)
        return order
