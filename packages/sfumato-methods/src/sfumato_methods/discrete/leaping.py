"""Samplers that walk the rates of the reversed chain: Euler steps and tau-leaping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Categorical, Process, Unsupported, expand
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, apply

from ..parts import EachPart
from .process import Discrete

__all__ = ["RateEuler", "TauLeaping"]


class _Leaping(EachPart):
    """One call a step; where a step ends at t = 0 the exact transition is drawn instead."""

    needs: ClassVar[Can] = Can.STEP

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        if not isinstance(process, Discrete):
            raise Unsupported(
                f"{type(self).__name__} needs a discrete chain with rates; {process} is none. Use "
                "Ancestral()"
            )
        return process.plan(grid)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        assert isinstance(process, Discrete) and isinstance(s, Tensor)
        t, x, q = past[-1]

        def law(rate: Tensor, dt: Tensor, ids: Tensor) -> Tensor:
            moves = self.moves(rate * dt[..., None])
            stay = 1 - moves.sum(-1, keepdim=True)
            return moves.scatter(-1, ids[..., None], stay.clamp_min(0))

        leap = Categorical(probs=apply(process.rates(q, x, t), law, expand(x, t - s), x))
        if not bool((s == 0).any()):
            return leap.sample(generator)
        exact = process.transition(q, x, t, s, row)
        if bool((s == 0).all()):
            return exact.sample(generator)
        assert isinstance(exact, Categorical)
        ends = expand(x, s == 0)
        mixed = apply(
            exact.probs, lambda p, e, r: torch.where(e[..., None], p, r), ends, leap.probs
        )
        return Categorical(probs=mixed).sample(generator)

    def moves(self, expected: Tensor) -> Tensor:
        """Probabilities (..., K) of leaving for each class, from expected numbers of jumps."""
        raise NotImplementedError


@dataclass(frozen=True)
class RateEuler(_Leaping):
    """P(x -> y) = R dt, one call a step, first order.

    Lou et al. 2023, arXiv:2310.16834, eq. 17. Where the rates sum to more than 1/dt the place is
    left for sure.
    """

    def moves(self, expected: Tensor) -> Tensor:
        return expected / expected.sum(-1, keepdim=True).clamp_min(1)


@dataclass(frozen=True)
class TauLeaping(_Leaping):
    """Poisson numbers of jumps to each class with rates held over the step, one call a step.

    Campbell et al. 2022, arXiv:2205.14987, algorithm 1, for classes without an order: a place that
    would jump more than once stays, so that P(x -> y) = R_y dt exp(-sum of R dt).
    """

    def moves(self, expected: Tensor) -> Tensor:
        moves: Tensor = expected * (-expected.sum(-1, keepdim=True)).exp()
        return moves
