"""The time shift of masked chains: many tokens fall at first, few at the end, or the other way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError

__all__ = ["ShiftedCounts", "time_shift", "token_counts"]


def time_shift(u: Tensor, shift: float) -> Tensor:
    """The map u -> shift u / (1 + (shift - 1) u) of [0, 1] to itself; 1 leaves all as it is.

    Esser et al. 2024, arXiv:2403.03206, section 5.3.2; of tokens Li et al. 2025, arXiv:2505.16839,
    section 3.4.

    Raises:
        InputError: for a shift that is not positive.
    """
    if not 0 < shift < float("inf"):
        raise InputError(f"a time shift is a positive number, but was {shift}")
    return shift * u / (shift * u + (1 - u))  # exactly 1 at 1


def token_counts(tokens: int, steps: int, shift: float = 1 / 3) -> list[int]:
    """How many tokens fall in each step: in each of them one at least, `tokens` in all.

    Differences of floor(n t'(j/N)), t' being the shifted time, from the last to the first, so that
    a shift below 1 shows many early. What the ones at least cost is taken off the others in turn
    (Li et al. 2025, arXiv:2505.16839, and its code).

    Args:
        tokens: n.
        steps: N; more steps than tokens are as many as tokens.
        shift: positive.

    Raises:
        InputError: for no token or no step, or a shift that is not positive.
    """
    if tokens < 1 or steps < 1:
        raise InputError(f"there must be a token and a step, but were {tokens} and {steps}")
    steps = min(tokens, steps)
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    floor = (tokens * time_shift(u, shift) + 1e-9).floor().long()
    counts = [max(1, int(n)) for n in floor.diff()]
    place = 0
    while sum(counts) > tokens:
        counts[place] -= counts[place] > 1
        place = (place + 1) % steps
    return counts[::-1]


@dataclass(frozen=True)
class ShiftedCounts:
    """A grid at whose times `token_counts` fall, of texts with so many masks; for orders of places.

    Args:
        tokens: n.
        shift: see `token_counts`.
    """

    tokens: int
    shift: float = 1 / 3

    def __call__(self, process: Any, steps: int) -> Tensor:
        """Times from 1 to 0, at most `steps + 1`: (min(steps, tokens) + 1,)."""
        counts = torch.tensor(token_counts(self.tokens, steps, self.shift))
        shown = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).double() / self.tokens
        t: Tensor = process.kernel.keep.inverse(shown)
        t[0], t[-1] = 1.0, 0.0
        return t
