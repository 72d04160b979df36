"""Samplers that walk the rates of the reversed chain: Euler steps and tau-leaping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Categorical, Multistep, PerPart, Process, Product, Unsupported, expand
from sfumato.random import Source
from sfumato.sampling import Denoise, Point, Trajectory
from sfumato.state import Time, apply

from .process import Discrete

__all__ = ["RateEuler", "TauLeaping"]


class _Leaping(Multistep):
    """One call a step; where a step ends at t = 0 the exact transition is drawn instead."""

    needs: ClassVar[Can] = Can.STEP

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Evaluate and leap, each part of a product on its own."""
        if isinstance(process, Product):
            each = PerPart(default=self).on(process)
            return each.trajectory(process, denoiser, x, grid, generator)
        return super().trajectory(process, denoiser, x, grid, generator)

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
        exact = process.transition(q, x, t, s, row)
        if bool((s == 0).all()):
            return exact.sample(generator)
        last = expand(x, s == 0)
        step = expand(x, t - s)
        assert isinstance(exact, Categorical)

        def law(rate: Tensor, dt: Tensor, ids: Tensor, end: Tensor, final: Tensor) -> Tensor:
            moves = self.moves(rate * dt[..., None])
            stay = 1 - moves.sum(-1, keepdim=True)
            probs = moves.scatter(-1, ids[..., None], stay.clamp_min(0))
            return torch.where(end[..., None], final, probs)

        probs = apply(process.rates(q, x, t), law, step, x, last, exact.probs)
        return Categorical(probs=probs).sample(generator)

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
