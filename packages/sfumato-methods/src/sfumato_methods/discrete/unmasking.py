"""Samplers of absorbing chains that call the network only where a mask falls.

The place and time at which a mask falls do not depend on the network; only the token does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, InputError, Process, Unsupported
from sfumato.random import Source
from sfumato.sampling import Denoise, Frame, Trajectory, times
from sfumato.state import Time

from .kernels import RankOne
from .places import Places, at, put
from .process import Discrete
from .tokens import draw

__all__ = ["CachedAncestral", "FirstHitting", "falls", "masking"]


def masking(sampler: Any, process: Process) -> RankOne:
    """The kernel of a process, if it only masks.

    Raises:
        Unsupported: naming the sampler, if it does not.
    """
    kernel = process.kernel if isinstance(process, Discrete) else None
    if not isinstance(kernel, RankOne) or kernel.absorbs is None:
        raise Unsupported(
            f"{type(sampler).__name__} needs a chain that only masks, such as "
            f"Discrete(absorbing(K)); {process} does not. Use Ancestral()"
        )
    return kernel


def falls(kernel: RankOne, t: Tensor, s: Tensor) -> Tensor:
    """Probability that a mask of time t has fallen by s: (a(s) - a(t))/(1 - a(t))."""
    before, after = kernel.keep(t), kernel.keep(s)
    hidden = 1 - before
    share = torch.where(hidden > 0, (after - before) / torch.where(hidden > 0, hidden, 1.0), 0.0)
    return torch.where(s == 0, torch.where(t > s, 1.0, 0.0), share)


@dataclass(frozen=True)
class CachedAncestral:
    """The law of `Ancestral` for absorbing chains, with calls only in steps that change something.

    Sahoo et al. 2024, arXiv:2406.07524, section 4. Each mask falls with its probability for the
    step, and tokens are drawn where it does: N steps make at most as many calls as there are
    masks, and one more where the first step changes nothing.
    """

    needs: ClassVar[Can] = Can.STEP

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(self, process)
        assert kernel.absorbs is not None
        every, clocks, q = at(x), times(grid), None
        for t, s in zip(clocks, clocks[1:], strict=False):
            hidden = every.hidden(x, kernel.absorbs)
            fall = hidden.pick(hidden.uniform(generator) < hidden.time(x, falls(kernel, t, s)))
            if q is None or len(fall):
                q = denoiser(x, t)
            after = put(x, fall.index, draw(q, fall, kernel.absorbs, generator))
            x = yield Frame(t, s, x, q, after)


@dataclass(frozen=True)
class FirstHitting:
    """The exact chain, event by event: as many calls as there are masks, whatever the grid.

    Zheng et al. 2024, arXiv:2409.02908, section 3. With n masks left at time t the next one falls
    at the time s at which 1 - a(s) = (1 - a(t)) u^(1/n), u uniform, at a place chosen evenly; its
    token is drawn from the posterior there and then. Items of a batch go through their events in
    step, each at its own time.

    The grid says where to begin and end, and in how many frames to show the events: each item
    spreads those it has left evenly over the frames left, whose times are (B,). A grid of two times
    runs all in one frame; a constraint that changes masks is heeded once a frame.
    """

    needs: ClassVar[Can] = Can.STEP

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(self, process)
        assert kernel.absorbs is not None
        every, clocks, q = at(x), times(grid), None
        if clocks[0].ndim > 1:
            raise InputError("FirstHitting takes times shared or per item, not per frame")
        now, end = (c.expand(every.items).to(every.index.device) for c in (clocks[0], clocks[-1]))
        for left in range(len(clocks) - 1, 0, -1):
            start, before = now, x
            hidden = every.hidden(x, kernel.absorbs)
            quota = (hidden.counts + left - 1) // left
            for event in range(int(quota.max()) if every.items else 0):
                acting = (quota > event) & (now > end)
                hidden = hidden.pick(acting[hidden.owner])
                now, fall = _next(kernel, hidden, now, end, generator)
                if len(fall):
                    q = denoiser(x, now)
                    x = put(x, fall.index, draw(q, fall, kernel.absorbs, generator))
                hidden = hidden.hidden(x, kernel.absorbs)
            if q is None:
                q = denoiser(x, now)
            now = end if left == 1 else now
            x = yield Frame(start, now, before, q, x)


def _next(
    kernel: RankOne, hidden: Places, now: Tensor, end: Tensor, generator: Source
) -> tuple[Tensor, Places]:
    """When the next mask of each item falls, and which, if it does before the end."""
    counts = hidden.counts
    first = hidden.pick(hidden.order(-hidden.rank.double()) == 0)  # one place an item
    n = counts[first.owner]
    share = (1 - kernel.keep(now[first.owner])) * first.uniform(generator) ** (1 / n)
    time, stop = kernel.keep.inverse(1 - share), end[first.owner]
    hit = (time > stop) | (stop == 0)
    now = now.index_copy(0, first.owner, torch.where(hit, time.clamp_min(0), stop))
    choice = (first.uniform(generator) * n).long().clamp(max=n - 1)
    chosen = torch.full_like(counts, -1).index_copy(0, first.owner, choice.where(hit, -1))
    return now, hidden.pick(hidden.order(-hidden.rank.double()) == chosen[hidden.owner])
