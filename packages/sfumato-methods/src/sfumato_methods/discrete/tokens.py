"""Laws over tokens that are worked out only at the places that a step is about.

A vocabulary has 100,000 entries and more, a step changes a few places: nothing here but `probs` and
`logits` touches the others, and the draws, made in float64, go row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Categorical, InputError, Unsupported
from sfumato.random import Source
from sfumato.state import apply, item_sum, leaf

from .places import Places

__all__ = ["Edit", "Recall", "Tied", "Tokens", "draw", "pick", "row_chunks"]

Edit = Callable[[Tensor], Tensor]
"""Maps (n, K) log probabilities to unnormalised ones, row by row."""
Recall = Callable[[Any, Tensor, slice], Callable[[Any, Tensor], Any]]
"""Maps (x, t, span) to a denoiser of x[:, span] that holds the rest of x as it is."""

_CHUNK = 1 << 20  # entries of the rows looked at together: 4 MB in float32
_BLOCK = 128


class Tokens(Categorical):
    """A `Categorical` given by the logits of a network, in the SUBS form where there is a mask.

    SUBS (Sahoo et al. 2024, arXiv:2406.07524, section 3.2.3): the mask has probability 0, and what
    is not masked is carried over.

    Args:
        raw: state (..., K) of logits.
        mask: class of probability 0; None: none.
        seen: ids that are carried over where they are not the mask; None: none are.
        edits: applied to the log probabilities in float64, in order.
        recall: see `remember`; None: without a memory.
    """

    __slots__ = ("edits", "mask", "raw", "recall", "seen")

    def __init__(
        self,
        raw: Any,
        mask: int | None = None,
        seen: Any = None,
        edits: tuple[Edit, ...] = (),
        recall: Recall | None = None,
    ) -> None:
        super().__init__(logits=raw)
        self.raw, self.mask, self.seen = raw, mask, seen
        self.edits, self.recall = edits, recall

    def edited(self, edit: Edit) -> Tokens:
        """This law with one more edit."""
        return Tokens(self.raw, self.mask, self.seen, (*self.edits, edit), self.recall)

    def within(self, span: slice, seen: Any) -> Tokens:
        """This law at the places of a span of the second dimension."""
        raw = apply(self.raw, lambda v: v[:, span])
        return Tokens(raw, self.mask, None if self.seen is None else seen, self.edits)

    @property
    def probs(self) -> Any:
        return apply(self._full(), lambda v: v.double().softmax(-1))

    @property
    def logits(self) -> Any:
        return apply(self._full(), lambda v: v.log_softmax(-1))

    def _full(self) -> Any:
        raw = self.raw
        if self.mask is not None:
            raw = apply(raw, _without(self.mask))
        for edit in self.edits:
            raw = apply(raw, lambda v, edit=edit: edit(v.double().log_softmax(-1)).to(v))
        return raw if self.seen is None else apply(raw, self._carry, self.seen)

    def _hidden(self, ids: Tensor) -> Tensor:
        return torch.zeros_like(ids, dtype=torch.bool) if self.mask is None else ids == self.mask

    def _carry(self, logits: Tensor, ids: Tensor) -> Tensor:
        kept = torch.full_like(logits, -torch.inf).scatter_(-1, ids[..., None], 0.0)
        return torch.where(self._hidden(ids)[..., None], logits, kept)

    def rows(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """(n, K) unnormalised log probabilities at flat places, none of them carried over.

        In single or double precision; double after edits. `out` is what the logits may be copied to
        on the way.
        """
        flat = leaf(self.raw)
        picked = torch.index_select(flat.reshape(-1, flat.shape[-1]), 0, index, out=out)
        picked = picked.to(torch.float64 if self.edits else _precise(picked.dtype))
        if self.mask is not None:
            picked[:, self.mask] = -torch.inf
        for edit in self.edits:
            picked = edit(picked.log_softmax(-1))
        return picked

    def said(self, index: Tensor, out: Tensor) -> Tensor:
        """`rows`, but the mask may have any value, and nothing may be written over.

        Where the places lie side by side and nothing is edited, it is what the network said.
        """
        if self.edits:
            return self.rows(index, out)
        flat: Tensor = leaf(self.raw)
        flat = flat.reshape(-1, flat.shape[-1])
        first, last = int(index[0]), int(index[-1])
        if last - first == len(index) - 1:
            picked = flat[first : last + 1]
        else:
            picked = torch.index_select(flat, 0, index, out=out)
        return picked.to(_precise(picked.dtype))

    def nll(self, x: Any) -> Tensor:
        if self.edits or self.seen is None or self.mask is None:
            return Categorical(logits=self._full()).nll(x)
        return item_sum(apply(self.raw, self._missing, self.seen, x))

    def _missing(self, logits: Tensor, ids: Tensor, target: Tensor) -> Tensor:
        """Minus log probabilities, worked out at masked places only."""
        hidden = self._hidden(ids)
        picked = logits[hidden]
        picked = picked.to(_precise(picked.dtype)).clone()
        picked[:, self.mask] = -torch.inf
        told = F.cross_entropy(picked, target[hidden], reduction="none")
        other = torch.where(ids == target, 0.0, torch.inf).to(told)
        return other.masked_scatter(hidden, told)


class Tied(Tokens):
    """A law whose places depend on each other: `rows` are its marginals, `draw` is joint."""

    __slots__ = ()

    def draw(self, places: Places, generator: Source) -> tuple[Tensor, Tensor]:
        """Ids at some places, drawn together, and the log probabilities of their marginals."""
        raise NotImplementedError

    def said(self, index: Tensor, out: Tensor) -> Tensor:
        return self.rows(index, out)

    def _full(self) -> NoReturn:
        raise Unsupported(
            "this law ties tokens together, and the sampler takes each by itself; use one that "
            "goes from mask to token, such as FirstHitting() or CachedAncestral()"
        )

    def nll(self, x: Any) -> NoReturn:
        self._full()

    def within(self, span: slice, seen: Any) -> NoReturn:
        self._full()


def _without(mask: int) -> Callable[[Tensor], Tensor]:
    def fill(logits: Tensor) -> Tensor:
        return logits.index_fill(-1, torch.tensor([mask], device=logits.device), -torch.inf)

    return fill


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@torch.no_grad()
def row_chunks(q: Any, places: Places, mask: int | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows of all places, some at a time.

    Yields (m, K) logits, not to be written over; (m, K) weights, which are their softmax, then 0 at
    the mask; and (m,) the sums of these, in float64. The weights may be written over, and are by
    the next rows: to map new memory for each would cost more than the arithmetic.

    To take the mask out of a softmax loses no precision where it has half of the probability at
    most, and saves a copy of the logits to exclude it in. Elsewhere its logit is -inf.

    Raises:
        InputError: where the posterior excludes every token.
    """
    if not len(places):
        return
    law = q if isinstance(q, Tokens) else Tokens(q.logits, mask)  # `logits` works each time
    raw = leaf(law.raw)
    size = max(1, _CHUNK // raw.shape[-1])
    copied = raw.new_empty(min(size, len(places)), raw.shape[-1])
    probs: Tensor | None = None
    for index in torch.split(places.index, size):
        count = len(index)
        rows = law.said(index, copied[:count])
        probs = torch.empty_like(rows) if probs is None else probs
        weight = torch.softmax(rows, -1, out=probs[:count])  # in one pass, its exp included
        if law.mask is None:
            total = 1 - 0 * weight[:, 0].double()
        else:
            total = 1 - weight[:, law.mask].double()
            weight[:, law.mask] = 0.0
        poor = ~(total >= 0.5)  # or NaN, as all of a row is where nothing is left
        if bool(poor.any()):
            fit, rows = law.rows(index[poor]), rows.clone()
            rows[poor], weight[poor], total[poor] = fit, fit.softmax(-1), 1.0
            if not bool(weight[:, 0].isfinite().all()):
                raise InputError(
                    "the denoiser excludes every token somewhere, so none can be drawn"
                )
        yield rows, weight, total


def draw(q: Any, places: Places, mask: int | None, generator: Source) -> tuple[Tensor, Tensor]:
    """(n,) ids drawn at some places by inverting the cumulative law, and their log probabilities.

    One uniform number of 53 bits a place, and cumulative sums in float64: a race of K noises in
    single precision loses every event rarer than 2^-24 (Zheng et al. 2024, arXiv:2409.02908,
    section 4). Classes are summed in blocks, which are as precise as their weights are; only the
    block in which the number falls is looked at one by one.
    A law that ties places together draws by itself.
    """
    if isinstance(q, Tied):
        return q.draw(places, generator)
    u = places.uniform(generator)
    block, total = torch.empty_like(u, dtype=torch.long), torch.empty_like(u)
    level, inside = torch.empty_like(u), u.new_empty(len(u), _BLOCK)
    done = 0
    for _, weight, _ in row_chunks(q, places, mask):
        here = slice(done, done + len(weight))
        block[here], level[here], total[here], inside[here] = _in_blocks(weight, u[here])
        done += len(weight)
    place, _, _ = _pass(inside, level[:, None])
    told = (inside.gather(-1, place)[:, 0] / total).log()
    return block * _BLOCK + place[:, 0], told


def _in_blocks(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The block of classes in which the cumulative weights (m, K) pass u (m,) times their sum.

    Returns:
        (m,) its number, (m,) the share of the block that lies below, (m,) the sum of all, and
        (m, _BLOCK) the weights in it.
    """
    classes = weight.shape[-1]
    even = classes - classes % _BLOCK
    blocks = weight[:, :even].reshape(len(weight), even // _BLOCK, _BLOCK).sum(-1)
    sums = torch.cat([blocks, weight[:, even:].sum(-1, keepdim=True)], -1).double()
    block, rest, total = _pass(sums, u[:, None])
    place = block * _BLOCK + torch.arange(_BLOCK, device=weight.device)
    inside = weight.gather(-1, place.clamp(max=classes - 1)).double()
    inside = inside.masked_fill_(place >= classes, 0.0)
    share = rest / sums.gather(-1, block)
    return block[:, 0], share[:, 0], total[:, 0], inside


def pick(weight: Tensor, u: Tensor) -> Tensor:
    """(m, 1) classes drawn by weights (m, K) in float64, with uniform numbers (m, 1)."""
    return _pass(weight, u)[0]


def _pass(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the sum passes u of the total, what is left of u there, and the total."""
    below = weight.cumsum(-1)
    total = below[:, -1:].contiguous()
    level = (u * total).clamp_min(0)
    pick = torch.searchsorted(below, level, right=True)
    pick = torch.minimum(pick, torch.searchsorted(below, total))  # the last of positive weight
    return pick, level - (below.gather(-1, pick) - weight.gather(-1, pick)), total
