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


def masking(who: str, process: Process) -> RankOne:
    """The kernel of a process, if it only masks.

    Raises:
        Unsupported: saying who needs that, if it does not.
    """
    kernel = process.kernel if isinstance(process, Discrete) else None
    if not isinstance(kernel, RankOne) or kernel.absorbs is None:
        raise Unsupported(
            f"{who} needs a chain that only masks, such as "
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
        kernel = masking(type(self).__name__, process)
        assert kernel.absorbs is not None
        every, clocks, q = at(x), times(grid), None
        for t, s in zip(clocks, clocks[1:], strict=False):
            hidden = every.hidden(x, kernel.absorbs)
            fall = hidden.pick(hidden.uniform(generator) < hidden.time(x, falls(kernel, t, s)))
            if q is None or len(fall):
                q = denoiser(x, t)
            after = put(x, fall.index, draw(q, fall, kernel.absorbs, generator)[0])
            x = yield Frame(t, s, x, q, after)


@dataclass(frozen=True)
class FirstHitting:
    """The exact chain, event by event: as many calls as there are masks, whatever the grid.

    Zheng et al. 2024, arXiv:2409.02908, section 3. With n masks left at time t the next one falls
    at the time s at which 1 - a(s) = (1 - a(t)) u^(1/n), u uniform, at a place chosen evenly; its
    token is drawn from the posterior there and then.

    The items of a batch go through their events together, each at its own time, and wait for each
    other at the times of the grid: with N steps a batch makes more calls than its longest item
    alone, with one step as many.
    """

    needs: ClassVar[Can] = Can.STEP

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(type(self).__name__, process)
        assert kernel.absorbs is not None
        every, clocks, q = at(x), times(grid), None
        if clocks[0].ndim > 1:
            raise InputError("FirstHitting takes times shared or per item, not per frame")
        for t, s in zip(clocks, clocks[1:], strict=False):
            before = x
            now, end = (c.expand(every.items).to(every.index.device) for c in (t, s))
            hidden = _waiting(every.hidden(x, kernel.absorbs), now, end)
            while len(hidden):
                now, fall = _next(kernel, hidden, now, end, generator)
                if len(fall):
                    q = denoiser(x, now)
                    x = put(x, fall.index, draw(q, fall, kernel.absorbs, generator)[0])
                hidden = _waiting(hidden.hidden(x, kernel.absorbs), now, end)
            if q is None:
                q = denoiser(x, t)
            x = yield Frame(t, s, before, q, x)


def _waiting(hidden: Places, now: Tensor, end: Tensor) -> Places:
    """The masks of the items whose time has not come to the end."""
    return hidden.pick((now > end)[hidden.owner])


def _next(
    kernel: RankOne, hidden: Places, now: Tensor, end: Tensor, generator: Source
) -> tuple[Tensor, Places]:
    """When the next mask of each item falls, and which, if it does before the end."""
    counts = hidden.counts
    first = hidden.pick(hidden.order(torch.zeros_like(hidden.rank)) == 0)  # one place an item
    n = counts[first.owner]
    share = (1 - kernel.keep(now[first.owner])) * first.uniform(generator) ** (1 / n)
    time, stop = kernel.keep.inverse(1 - share), end[first.owner]
    hit = (time > stop) | (stop == 0)
    time = torch.minimum(time.clamp_min(torch.finfo(time.dtype).tiny), now[first.owner])
    now = now.index_copy(0, first.owner, torch.where(hit, time, stop))
    choice = (first.uniform(generator) * n).long().clamp(max=n - 1)
    chosen = torch.full_like(counts, -1).index_copy(0, first.owner, choice.where(hit, -1))
    place = hidden.order(torch.zeros_like(hidden.rank))
    return now, hidden.pick(place == chosen[hidden.owner])
