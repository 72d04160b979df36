"""Samplers that walk the rates of the reversed chain: Euler steps and tau-leaping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Categorical, Implicit, Law, Process, Unsupported, expand
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, apply, where

from ..parts import EachPart
from .counts import poisson
from .process import Discrete

__all__ = ["OrdinalLeaping", "RateEuler", "TauLeaping"]


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
        ends = s == 0
        if bool(ends.all()):
            return process.transition(q, x, t, s, row).sample(generator)
        expected = apply(
            process.rates(q, x, t), lambda rate, dt: rate * dt[..., None], expand(x, t - s)
        )
        leap = self.leap(expected, x).sample(generator)
        if not bool(ends.any()):
            return leap
        return where(expand(x, ends), process.transition(q, x, t, s, row).sample(generator), leap)

    def leap(self, expected: Any, x: Any) -> Law:
        """Law of the next state, from expected numbers of jumps (..., K) to each class."""

        def law(jumps: Tensor, ids: Tensor) -> Tensor:
            moves = self.moves(jumps)
            stay = 1 - moves.sum(-1, keepdim=True)
            return moves.scatter(-1, ids[..., None], stay.clamp_min(0))

        return Categorical(probs=apply(expected, law, x))

    def moves(self, expected: Tensor) -> Tensor:
        """Probabilities (..., K) of leaving for each class."""
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


@dataclass(frozen=True)
class OrdinalLeaping(_Leaping):
    """The same for ordered classes, whose jumps add up: x + sum over y of n_y (y - x).

    Campbell et al. 2022, arXiv:2205.14987, algorithm 1, with n_y ~ Poisson(R_y dt). What would
    leave the range is reflected at its ends, as a walk on values is that waits there (`band`);
    clamping, as published, would pile it up at the first and the last class.
    """

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        rows = super().plan(process, grid)
        assert isinstance(process, Discrete)
        if process.kernel.mask is not None:
            raise Unsupported(
                f"OrdinalLeaping adds jumps of ordered values, and {process} has a mask, which is "
                "none. Use TauLeaping() or Ancestral()"
            )
        return rows

    def leap(self, expected: Any, x: Any) -> Implicit:
        def jumped(ids: Tensor, counts: Tensor) -> Tensor:
            classes = counts.shape[-1]
            step = torch.arange(classes, device=ids.device) - ids[..., None]
            place = (ids + (counts * step).sum(-1)) % (2 * classes)
            return torch.minimum(place, 2 * classes - 1 - place)

        return Implicit(lambda generator: apply(x, jumped, poisson(expected, generator)))
