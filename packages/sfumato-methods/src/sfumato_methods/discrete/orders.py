"""Samplers of absorbing chains that choose which masks fall: by confidence, at random, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sfumato import InputError, Process
from sfumato.random import Source
from sfumato.sampling import Denoise, Frame, Trajectory, times
from sfumato.state import Time

from .kernels import RankOne
from .places import Places, at, put
from .tokens import draw, row_chunks
from .unmasking import Stochastic, masking

__all__ = [
    "Confident", "Entropy", "Factor", "LeftToRight", "Margin", "MaskGIT", "Order", "Ordered",
    "Pace", "RandomOrder", "Scheduled", "Seen", "TopProbability",
]  # fmt: skip


_BLOCK = 128


class Seen:
    """What a step chooses from: masked places, and what the posterior says there.

    Attributes:
        q: the posterior.
        hidden: (n,) masked places.
        mask: id of the mask.
    """

    def __init__(self, q: Any, hidden: Places, mask: int) -> None:
        self.q, self.hidden, self.mask = q, hidden, mask

    def each(self, f: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """(n,) float64 values of `f`, which maps what `row_chunks` yields to (m,)."""
        out = torch.empty_like(self.hidden.index, dtype=torch.float64)
        done = 0
        for rows, weight, total in row_chunks(self.q, self.hidden, self.mask):
            out[done : done + len(rows)] = f(rows, weight, total)
            done += len(rows)
        return out

    @cached_property
    def top(self) -> Tensor:
        """(n,) logarithm of the largest probability."""
        return self.each(lambda rows, weight, total: (weight.amax(-1) / total).log())


class Order(Protocol):
    """Scores masked places on a logarithmic scale; those with the highest are shown first."""

    def __call__(self, seen: Seen, generator: Source) -> Tensor:
        """(n,) float64."""


@dataclass(frozen=True)
class TopProbability:
    """The largest probability (Chang et al. 2022, arXiv:2202.04200)."""

    def __call__(self, seen: Seen, generator: Source) -> Tensor:
        return seen.top


@dataclass(frozen=True)
class Margin:
    """The largest less the second largest probability (Kim et al. 2025, arXiv:2502.06768).

    It tells two rivals from many, where the largest probability cannot.
    """

    def __call__(self, seen: Seen, generator: Source) -> Tensor:
        def gap(rows: Tensor, weight: Tensor, total: Tensor) -> Tensor:
            first, second = _largest_two(weight)
            return (first - second) / total

        return seen.each(gap).log()


def _largest_two(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(m,) the two largest entries of each row (m, K), in one pass: topk takes 15 times as long.

    The second stands beside the first, in a block of _BLOCK, or is the largest of another block.
    """
    classes = weight.shape[-1]
    even = classes - classes % _BLOCK
    if even < 2 * _BLOCK:
        first, second = weight.topk(2, -1).values.unbind(-1)
        return first, second
    tops = weight[:, :even].reshape(len(weight), even // _BLOCK, _BLOCK).amax(-1)
    if even < classes:
        tops = torch.cat([tops, weight[:, even:].amax(-1, keepdim=True)], -1)
    best, block = tops.topk(2, -1)
    start = (block[:, :1] * _BLOCK).clamp_max_(classes - _BLOCK)
    beside = weight.gather(-1, start + torch.arange(_BLOCK, device=weight.device)).topk(2, -1)
    return best[:, 0], torch.maximum(best[:, 1], beside.values[:, 1])


@dataclass(frozen=True)
class Entropy:
    """Minus the entropy."""

    def __call__(self, seen: Seen, generator: Source) -> Tensor:
        def minus(rows: Tensor, weight: Tensor, total: Tensor) -> Tensor:
            # log p = row - row of one + log p of that one: any whose weight is no tiny number
            stride = 1 + (weight.shape[-1] - 1) // _BLOCK
            told, one = weight[:, ::stride].max(-1)
            one, tiny = one * stride, told < 1e-30
            if bool(tiny.any()):
                told[tiny], one[tiny] = weight[tiny].max(-1)
            base = rows.gather(-1, one[:, None])[:, 0] - (told / total).log()
            held = weight.sum(-1)
            mean = torch.mul(rows, weight, out=weight).nansum(-1)  # NaN: excluded, -inf times 0
            return mean / held - base

        return seen.each(minus)


@dataclass(frozen=True)
class RandomOrder:
    """No preference, as the chain itself has none."""

    def __call__(self, seen: Seen, generator: Source) -> Tensor:
        return seen.hidden.uniform(generator)


@dataclass(frozen=True)
class LeftToRight:
    """The order of reading; with one token a step a model is then autoregressive."""

    def __call__(self, seen: Seen, generator: Source) -> Tensor:
        return -seen.hidden.rank.double()


class Pace(Protocol):
    """Says how many masks fall in a step."""

    @property
    def eager(self) -> bool:
        """Whether something falls in every step, also where the schedule has nothing due."""

    def __call__(self, seen: Seen, rank: Tensor, due: Tensor) -> Tensor:
        """(n,) bool: which fall.

        Args:
            seen: the masked places.
            rank: (n,) how many of the same item come before.
            due: (B,) how many the schedule wants to fall.
        """


@dataclass(frozen=True)
class Scheduled:
    """As many as the chain would show on average: k in each of L/k even steps.

    After the step to s, n (1 - a(s))/(1 - a(start)) of an item's n masks are left, rounded.
    """

    eager: ClassVar[bool] = False

    def __call__(self, seen: Seen, rank: Tensor, due: Tensor) -> Tensor:
        return rank < due[seen.hidden.owner]


@dataclass(frozen=True)
class Confident:
    """All whose largest probability exceeds a threshold, and at least the first of each item.

    Wu et al. 2025, arXiv:2505.22618 (Fast-dLLM). The grid then says only in how many steps to end
    at the latest; with as many as there are masks, nothing is forced at the end.

    Args:
        threshold: a probability.
    """

    threshold: float = 0.9
    eager: ClassVar[bool] = True

    def __call__(self, seen: Seen, rank: Tensor, due: Tensor) -> Tensor:
        return (seen.top.exp() > self.threshold) | (rank == 0)


@dataclass(frozen=True)
class Factor:
    """The n most confident with the largest n for which (n + 1)(1 - c_n) < factor; at least one.

    Wu et al. 2025, arXiv:2505.22618: c_n is the n-th largest confidence, and for such n the product
    of the marginals is near to the joint law.

    Args:
        factor: positive.
    """

    factor: float = 1.0
    eager: ClassVar[bool] = True

    def __call__(self, seen: Seen, rank: Tensor, due: Tensor) -> Tensor:
        owner, place = seen.hidden.owner, seen.hidden.order(seen.top)
        safe = (place + 2) * (1 - seen.top.exp()) < self.factor
        count = torch.ones_like(due).scatter_reduce(
            0, owner, torch.where(safe, place + 1, 0), "amax"
        )
        return place < count[owner]


_Choose = Callable[[Seen, Tensor, Tensor, float], tuple[Places, Tensor]]
"""Maps what is seen, (B,) how many are due, (n,) which must fall, heat: to places and tokens."""


def _walk(
    kernel: RankOne, denoiser: Denoise, x: Any, grid: Time, choose: _Choose, eager: bool
) -> Trajectory:
    """Steps that show what `choose` says, and call the network where something may fall."""
    assert kernel.absorbs is not None
    every, clocks, q = at(x), times(grid), None
    if clocks[0].ndim > 1:
        raise InputError("an order of places takes times shared or per item, not per frame")
    device = every.index.device
    masks = every.hidden(x, kernel.absorbs).counts
    most = 1 - kernel.keep(clocks[0]).to(device)
    for step, (t, s) in enumerate(zip(clocks, clocks[1:], strict=False)):
        hidden = every.hidden(x, kernel.absorbs)
        share = (1 - kernel.keep(s)).to(device) / torch.where(most > 0, most, 1.0)
        left = torch.where(s.to(device) == 0, 0, (masks * share).round().long())
        due = (hidden.counts - left).clamp_min(0)
        hidden = hidden.pick((due[hidden.owner] > 0) | eager)
        if q is None or len(hidden):
            q = denoiser(x, t)
        last = hidden.time(x, s) == 0
        heat = 1 - (step + 1) / (len(clocks) - 1)
        fall, ids = choose(Seen(q, hidden, kernel.absorbs), due, last, heat)
        x = yield Frame(t, s, x, q, put(x, fall.index, ids))


def _heated(score: Tensor, scale: float, hidden: Places, generator: Source) -> Tensor:
    """Scores with Gumbel noise."""
    if scale == 0:
        return score
    return score - scale * hidden.uniform(generator).clamp_min(1e-300).log().neg().log()


@dataclass(frozen=True)
class Ordered(Stochastic):
    """Choose which masks fall, then draw their tokens; at most one call a step.

    Kim et al. 2025, arXiv:2502.06768, section 4. With one token a step, every order gives the same
    law if the model knows every conditional; a learned one is better asked where it is sure.

    Args:
        order: what falls first.
        pace: how many fall in a step.
        noise: scale of Gumbel noise on the scores; it fades to 0 over the steps.
    """

    order: Order = Margin()
    pace: Pace = Scheduled()
    noise: float = 0.0

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(type(self).__name__, process)

        def choose(seen: Seen, due: Tensor, last: Tensor, heat: float) -> tuple[Places, Tensor]:
            score = _heated(self.order(seen, generator), heat * self.noise, seen.hidden, generator)
            fall = seen.hidden.pick(self.pace(seen, seen.hidden.order(score), due) | last)
            return fall, draw(seen.q, fall, seen.mask, generator)[0]

        return _walk(kernel, denoiser, x, grid, choose, self.pace.eager)


@dataclass(frozen=True)
class MaskGIT(Stochastic):
    """Draw a token for every mask, then keep those with the highest probability.

    Chang et al. 2022, arXiv:2202.04200, section 3.2. Choosing among drawn tokens is a temperature
    in disguise: likely tokens are kept more often than they should be. `Ordered` chooses first.

    Args:
        noise: scale of Gumbel noise on the logarithm of the probability; it fades to 0.
    """

    noise: float = 0.0

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(type(self).__name__, process)

        def choose(seen: Seen, due: Tensor, last: Tensor, heat: float) -> tuple[Places, Tensor]:
            hidden = seen.hidden
            ids, told = draw(seen.q, hidden, seen.mask, generator)
            score = _heated(told, heat * self.noise, hidden, generator)
            fall = hidden.best(score, due) | last
            return hidden.pick(fall), ids[fall]

        return _walk(kernel, denoiser, x, grid, choose, eager=False)
