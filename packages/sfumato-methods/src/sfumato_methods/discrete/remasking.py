"""Remasking: tokens that were shown may be hidden again, so that more steps mend more mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sfumato import Can, InputError, Process
from sfumato.random import Source
from sfumato.sampling import Denoise, Frame, Trajectory, times
from sfumato.state import Time, leaf

from .kernels import RankOne
from .places import Places, at, put
from .tokens import draw
from .unmasking import masking

__all__ = ["Cap", "Loop", "Remasking", "Rescale", "Schedule", "largest"]


def largest(before: Tensor, after: Tensor) -> Tensor:
    """The largest rate of remasking in a step, min(1, (1 - a(s))/a(t)) (their eq. 7)."""
    return ((1 - after) / before.clamp_min(1e-300)).clamp(0, 1)


class Schedule(Protocol):
    """Rates of remasking along a grid."""

    def plan(self, kernel: RankOne, grid: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(t, s, sigma) of each step, the times those of the chain."""


@dataclass(frozen=True)
class Cap:
    """sigma = min(eta, its largest value)."""

    eta: float = 0.02

    def plan(self, kernel: RankOne, grid: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Schedule`."""
        for t, s in zip(grid, grid[1:], strict=False):
            yield t, s, largest(kernel.keep(t), kernel.keep(s)).clamp(max=self.eta)


@dataclass(frozen=True)
class Rescale:
    """sigma = eta times its largest value."""

    eta: float = 0.1

    def plan(self, kernel: RankOne, grid: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Schedule`."""
        for t, s in zip(grid, grid[1:], strict=False):
            yield t, s, self.eta * largest(kernel.keep(t), kernel.keep(s))


@dataclass(frozen=True)
class Loop:
    """Unmask up to a share `held`, stay there and remask at rate `eta`, then unmask the rest.

    On a grid of times u, a rises linearly to `held` until u = `on`, rests until u = `off`, and
    rises to 1 at u = 0 (their section 4.3). The network is told the times of the chain at which a
    is so, the frames tell those of the grid.

    Args:
        eta: sigma while a rests.
        held: a of the rest, in (0, 1).
        on: where it begins.
        off: where it ends, 0 < off < on < 1.
    """

    eta: float = 0.02
    held: float = 0.9
    on: float = 0.55
    off: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.off < self.on < 1 and 0 < self.held < 1):
            raise InputError(
                "Loop takes 0 < off < on < 1 and held in (0, 1), not "
                f"off={self.off}, on={self.on}, held={self.held}"
            )

    def plan(self, kernel: RankOne, grid: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Schedule`."""
        rise = self.held * (1 - grid) / (1 - self.on)
        finish = 1 - (1 - self.held) * grid / self.off
        kept = torch.where(grid >= self.on, rise, torch.where(grid <= self.off, finish, self.held))
        clocks = kernel.keep.inverse(kept)
        for t, s, a, b in zip(clocks, clocks[1:], kept, kept[1:], strict=False):
            yield t, s, torch.where(a == b, largest(a, b).clamp(max=self.eta), 0.0)


@dataclass(frozen=True)
class Remasking:
    """Ancestral steps that remask tokens at a rate sigma and unmask as many more (ReMDM).

    Wang et al. 2025, arXiv:2503.00307, eq. 5 and 6: a token that is seen is masked again with
    probability sigma, and a mask falls with probability (a(s) - (1 - sigma) a(t))/(1 - a(t)), which
    keeps the marginals of the chain for every sigma up to its largest value. sigma = 0 is
    `CachedAncestral`. Calls are made only in steps in which a mask falls.

    Args:
        schedule: `Cap`, `Rescale` or `Loop`.
        by_confidence: share sigma among the tokens of an item by softmax(-p), p the probability
            with which each was drawn, so that doubtful ones are drawn again (their section 4.2).
    """

    schedule: Schedule = Rescale()
    by_confidence: bool = False

    needs: ClassVar[Can] = Can.STEP

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(type(self).__name__, process)
        mask, every, q = kernel.absorbs, at(x), None
        assert mask is not None
        if not isinstance(grid, Tensor):
            raise InputError("Remasking takes one clock, but was given a mapping of times")
        trust = torch.ones(leaf(x).numel(), dtype=torch.float64, device=every.index.device)
        clocks = times(grid)
        plan = self.schedule.plan(kernel, grid)
        for u, v, (t, s, sigma) in zip(clocks, clocks[1:], plan, strict=False):
            hidden = every.hidden(x, mask)
            shown = every.pick(every.read(x) != mask)
            again = shown.time(x, sigma)
            if self.by_confidence:
                again = again * _doubt(shown, trust)
            redo = shown.pick(shown.uniform(generator) < again)
            raised = hidden.time(x, torch.zeros_like(sigma) if self.by_confidence else sigma)
            before, after = (hidden.time(x, kernel.keep(u)) for u in (t, s))
            share = (after - (1 - raised) * before) / (1 - before).clamp_min(1e-300)
            done = (hidden.time(x, s) == 0) & (hidden.time(x, t) > 0)
            fall = hidden.pick((hidden.uniform(generator) < share) | done)
            if q is None or len(fall):
                q = denoiser(x, t)
            ids, told = draw(q, fall, mask, generator)
            if self.by_confidence:
                trust = trust.index_copy(0, fall.index, told.exp())
            after = put(x, fall.index, ids)
            after = put(after, redo.index, torch.full_like(redo.index, mask))
            x = yield Frame(u, v, x, q, after)


def _doubt(shown: Places, trust: Tensor) -> Tensor:
    """(n,) softmax of minus the trust over the tokens of each item."""
    weight = (-trust[shown.index]).exp()
    total = weight.new_zeros(shown.items).index_add(0, shown.owner, weight)
    return weight / total[shown.owner]
