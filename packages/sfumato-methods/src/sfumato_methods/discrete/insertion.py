"""Texts that grow: tokens are inserted as masks and unmasked, so that the length is generated too.

FlexMDM (Kim et al. 2025, arXiv:2509.01025). Going up in t, a clean token becomes a mask at a time
t_2 and disappears at a time t_1: t_1 ~ U(0, 1), t_2 ~ U(0, t_1). At t = 1 nothing is left. A state
is `Padded` ids (B, M), the survivors in order at the front; M is the largest length.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import (
    Can,
    Categorical,
    Dirac,
    Implicit,
    InputError,
    Law,
    Noised,
    Padded,
    Posterior,
    Process,
    Ragged,
    Unsupported,
    random,
)
from sfumato.denoiser import NetworkDenoiser
from sfumato.random import Source
from sfumato.sampling import Denoise, Frame, Trajectory, times
from sfumato.state import Time

from .counts import poisson
from .orders import Order, RandomOrder, Seen
from .places import at, put
from .tokens import draw
from .unmasking import Stochastic

__all__ = ["EventDriven", "Growth", "Insertion", "InsertionDenoiser", "Survivors"]


class Survivors(NamedTuple):
    """What a network has to learn from a shortened text.

    Attributes:
        ids: `Padded` clean ids of the survivors.
        hidden: (B, M) bool: which of them are masked.
        gaps: (B, M + 1) float: tokens missing before each survivor, and after the last.
    """

    ids: Padded
    hidden: Tensor
    gaps: Tensor


class Growth(Posterior):
    """What is known of the whole text: the masked tokens, and how many are missing in each gap.

    Args:
        tokens: `Categorical` over the ids of the survivors.
        gaps: (B, M + 1) expected numbers of missing tokens, those behind the last gap ignored.
    """

    __slots__ = ("gaps", "tokens")

    def __init__(self, tokens: Categorical, gaps: Tensor) -> None:
        self.tokens, self.gaps = tokens, gaps

    def loss(self, target: Survivors) -> Tensor:
        """(B,) cross-entropy of masked tokens plus g - k + k log(k/g) of each gap, over M.

        Times 1/t its mean over uniform t is the bound on the nats of a text, over M (their
        theorem 1; the rate of both kinds of event is 1/t for each mask and each missing token).
        """
        logits, length = self.tokens.logits.data, target.hidden.shape[1]
        told = logits.gather(-1, target.ids.data[..., None])[..., 0]
        words = -told.masked_fill(~target.hidden, 0.0).sum(1)
        k, g = target.gaps.to(self.gaps), self.gaps.clamp_min(1e-12)
        some = k > 0
        each = g - k + k * (torch.where(some, k, 1.0) / torch.where(some, g, 1.0)).log()
        valid = _gaps(target.ids)
        loss: Tensor = (words + each.masked_fill(~valid, 0.0).sum(1)) / length
        return loss


def _gaps(x: Padded) -> Tensor:
    """(B, M + 1) which gaps there are: one more than tokens."""
    return F.pad(x.mask, (1, 0), value=True)


class Insertion(Process):
    """The chain that masks and deletes; `EventDriven` and, in small steps, `Ancestral` reverse it.

    q(x_t | x_0) keeps each token with probability 1 - t + t log t, masks it with -t log t, deletes
    it with t, independently. Id `vocabulary` is the mask. `given(kept=...)`, bool (B, M), pins
    tokens that are kept for good: at t = 1 they alone are left, and a text grows around them.

    Args:
        vocabulary: number of clean ids.
    """

    can = Can.STEP
    accepts: ClassVar[tuple[type[Law], ...]] = (Growth,)
    _kept: Tensor | None = None

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def given(self, *, kept: Tensor | None = None, **context: Any) -> Self:
        if kept is None or context:
            return super().given(**context)
        view = copy.copy(self)
        view._kept = kept.bool()
        return view

    def _lasts(self, x: Padded) -> Tensor:
        """(B, M) bool: which tokens of a text last."""
        if self._kept is None:
            return torch.zeros_like(x.mask)
        if self._kept.shape != x.mask.shape:
            raise InputError(
                f"kept is {tuple(self._kept.shape)}, and the texts are {tuple(x.mask.shape)}"
            )
        return self._kept.to(x.mask.device) & x.mask

    def extra_repr(self) -> str:
        return f"vocabulary={self.vocabulary}"

    def prior(self, like: Any) -> Dirac:
        x = _texts(like)
        last = self._lasts(x)
        return Dirac(self._survivors(x, last, torch.zeros_like(last)).x)

    def marginal(self, x0: Any, t: Time) -> Implicit:
        return Implicit(lambda generator: self.draw(x0, t, generator).x)

    def draw(self, x0: Any, t: Time, generator: Source) -> Noised:
        x0 = _texts(x0)
        if not isinstance(t, Tensor) or t.ndim > 1:
            raise InputError("texts that grow take times shared or per item")
        every = at(x0)
        gone = every.uniform(generator)
        gone = torch.where(every.read(self._lasts(x0)), 2.0, gone)
        masked = gone * every.uniform(generator).masked_fill(gone > 1, 1.0)
        now = every.time(x0, t.double())
        left = torch.zeros(x0.data.numel(), dtype=torch.bool, device=now.device)
        left[every.index] = gone >= now
        hidden = torch.zeros_like(left)
        hidden[every.index] = (masked < now) & (gone >= now)
        return self._survivors(x0, left.reshape(x0.mask.shape), hidden.reshape(x0.mask.shape))

    def _survivors(self, x0: Padded, left: Tensor, hidden: Tensor) -> Noised:
        order = torch.argsort((~left).long(), dim=1, stable=True)  # survivors to the front
        mask, ids = left.gather(1, order), x0.data.gather(1, order)
        hidden = hidden.gather(1, order)
        slot = left.cumsum(1) - left.long()  # the gap in front of which a token stood
        gaps = torch.zeros(len(ids), ids.shape[1] + 1, dtype=torch.float64, device=ids.device)
        gaps = gaps.scatter_add(1, slot, (x0.mask & ~left).double())
        shown = torch.where(hidden | ~mask, self.vocabulary, ids)
        return Noised(Padded(shown, mask), Survivors(Padded(ids, mask), hidden, gaps))

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Implicit:
        """Tau-leaping: masks fall with probability 1 - s/t, a gap of g gains Poisson(g (1 - s/t)).

        Exact for small steps only. Where s = 0 all masks fall and nothing is inserted.
        """
        x = _texts(x)
        u, v = torch.as_tensor(t).double(), torch.as_tensor(s).double()
        share = torch.where(u > 0, 1 - v / torch.where(u > 0, u, 1.0), 0.0)
        return Implicit(lambda generator: self._leap(q, x, share, v, generator))

    def _leap(self, q: Growth, x: Padded, share: Tensor, s: Tensor, generator: Source) -> Padded:
        every = at(x)
        hidden = every.hidden(x, self.vocabulary)
        fall = hidden.pick(hidden.uniform(generator) < hidden.time(x, share))
        x = put(x, fall.index, draw(q.tokens, fall, self.vocabulary, generator)[0])
        grows = (share * (s > 0)).expand(len(x.data)).to(x.data.device)
        expected = (q.gaps.double() * _gaps(x) * grows[:, None]).sum(1)
        number = poisson(expected, generator).clamp(max=x.mask.shape[1])
        for step in range(int(number.max()) if len(number) else 0):
            x = _insert(x, q.gaps * _gaps(x), number > step, self.vocabulary, generator)
        return x


def _texts(x: Any) -> Padded:
    if not isinstance(x, Padded) or x.data.ndim != 2 or x.data.dtype != torch.long:
        raise InputError("texts that grow are Padded ids (B, M) of dtype long")
    return x


def _among(chosen: Tensor, values: Tensor) -> Ragged:
    """The rows of the chosen items, so that the others draw nothing."""
    owner = chosen.nonzero()[:, 0]
    return Ragged(values[owner], owner, len(chosen))


def _insert(x: Padded, weight: Tensor, grow: Tensor, mask: int, generator: Source) -> Padded:
    """A mask put into one gap of each item that grows and has room, by weight."""
    length = x.mask.shape[1]
    count = x.mask.sum(1)
    grow = grow & (count < length)
    drawn = random.categorical(_among(grow, weight.double().clamp_min(0) + 1e-300), generator)
    gap = torch.full_like(count, length).index_copy(0, drawn.owner, drawn.data)
    gap = torch.where(grow, torch.minimum(gap, count), length)[:, None]
    place = torch.arange(length, device=gap.device).expand_as(x.data)
    source = place - (place > gap).long()
    ids = x.data.gather(1, source).masked_fill(place == gap, mask)
    number = count + (gap[:, 0] < length)
    return Padded(ids, place < number[:, None])


class InsertionDenoiser(NetworkDenoiser):
    """A network that says logits (B, M, K) and gaps (B, M + 1) of Padded ids, as a denoiser.

    Gaps become expected numbers by softplus. The mask is excluded from the tokens.
    """

    process: Insertion

    def forward(self, x: Any, t: Time) -> Growth:
        logits, gaps = self.output(x, t)
        excluded = torch.arange(logits.shape[-1], device=logits.device) == self.process.vocabulary
        logits = logits.masked_fill(excluded, -torch.inf)
        return Growth(Categorical(logits=Padded(logits, x.mask)), F.softplus(gaps))


@dataclass(frozen=True)
class EventDriven(Stochastic):
    """Insertions and unmaskings one at a time, at the times at which they happen.

    With n masks and G missing tokens expected, events come at the rate (n + G)/t. G falls with t
    while nothing happens, so that its value now bounds what follows: the next event is proposed at
    t u^(1/(n + G)); there the network is asked again, and an insertion is kept with probability
    G'/G (thinning, Lewis & Shedler 1979). With the exact posterior the law is exact, whatever the
    grid and the order. Two calls an event, and one for each insertion that is not kept.

    Args:
        last: nothing is inserted below this time, and the masks left fall one by one.
        order: which mask falls when one does; a learned model is better asked where it is sure.
    """

    last: float = 1e-3
    order: Order = RandomOrder()

    def __post_init__(self) -> None:
        if not 0 < self.last < 1:
            raise InputError(f"last lies in (0, 1), but is {self.last}")

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        if not isinstance(process, Insertion):
            raise Unsupported(
                f"EventDriven grows texts, Insertion(K); {process} is none. Use Ancestral()"
            )
        mask, clocks = process.vocabulary, times(grid)
        if clocks[0].ndim > 1:
            raise InputError("texts that grow take times shared or per item")
        for t, s in zip(clocks, clocks[1:], strict=False):
            before, count = x, len(x.data)
            now, end = (c.double().expand(count).to(x.data.device) for c in (t, s))
            bound, falls = torch.zeros_like(now), torch.zeros_like(now, dtype=torch.bool)
            alive, grows = now > end, falls
            q = denoiser(x, now)
            while bool(alive.any()):
                gaps, n = q.gaps.double() * _gaps(x), _masks(x, mask)
                gain = torch.where((now > self.last) & _room(x), gaps.sum(1), 0.0)
                kept = grows & (_each(grows, generator) * bound < gain)
                x = self._unmask(q, x, falls, mask, generator)
                x = _insert(x, gaps, kept, mask, generator)
                ready = alive & ~(kept | falls)  # the others are asked again where they are now
                rate = gain + n
                step = _each(ready, generator) ** (1 / rate.clamp_min(1e-12))
                then = (now * step).clamp_min(torch.finfo(now.dtype).tiny)
                hit = ready & (rate > 0) & (then > end)
                kind = _each(hit, generator) * rate < n
                falls, grows, bound = hit & kind, hit & ~kind, gain
                now = torch.where(hit, then, torch.where(ready, end, now))
                alive = alive & (hit | ~ready)
                if bool(alive.any()):
                    q = denoiser(x, now)
            x = yield Frame(t, s, before, q, x)

    def _unmask(self, q: Growth, x: Padded, chosen: Tensor, mask: int, generator: Source) -> Padded:
        """One mask of each chosen item becomes a token."""
        hidden = at(x).hidden(x, mask)
        hidden = hidden.pick(chosen[hidden.owner])
        score = self.order(Seen(q.tokens, hidden, mask), generator)
        fall = hidden.pick(hidden.best(score, chosen.long()))
        out: Padded = put(x, fall.index, draw(q.tokens, fall, mask, generator)[0])
        return out


def _room(x: Padded) -> Tensor:
    return x.mask.sum(1) < x.mask.shape[1]


def _masks(x: Padded, mask: int) -> Tensor:
    return ((x.data == mask) & x.mask).sum(1)


def _each(busy: Tensor, generator: Source) -> Tensor:
    """(B,) uniform draws in (0, 1] for the items that are busy, 1 for the others."""
    drawn = random.draw(_among(busy, busy.double()), random.uniform, generator)
    return 1 - torch.zeros(len(busy), dtype=torch.float64, device=busy.device).index_copy(
        0, drawn.owner, drawn.data
    )
