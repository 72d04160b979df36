"""Laws over tokens that are worked out only at the places that a step is about.

A vocabulary has 100,000 entries and more, a step changes a few places: nothing here but `probs` and
`logits` touches the others, and the draws, made in float64, go row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Categorical, InputError
from sfumato.random import Source
from sfumato.state import apply, item_sum, leaf

from .places import Places

__all__ = ["Edit", "Recall", "Tokens", "draw", "row_chunks", "rows", "told"]

Edit = Callable[[Tensor], Tensor]
"""Maps (n, K) log probabilities to unnormalised ones, row by row."""
Recall = Callable[[Any, Tensor, slice], Callable[[Any, Tensor], Any]]
"""Maps (x, t, span) to a denoiser of x[:, span] that holds the rest of x as it is."""

_CHUNK = 1 << 22  # entries of a block of rows: 32 MB in float64


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

    def _carry(self, logits: Tensor, ids: Tensor) -> Tensor:
        kept = torch.full_like(logits, -torch.inf).scatter_(-1, ids[..., None], 0.0)
        return torch.where((ids == self.mask)[..., None], logits, kept)

    def rows(self, index: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """(n, K) log probabilities at flat places, none of them carried over."""
        flat = leaf(self.raw)
        picked = flat.reshape(-1, flat.shape[-1])[index].to(torch.float64 if self.edits else dtype)
        if self.mask is not None:
            picked[:, self.mask] = -torch.inf
        for edit in self.edits:
            picked = edit(picked.log_softmax(-1))
        return picked.log_softmax(-1).to(dtype)

    def nll(self, x: Any) -> Tensor:
        if self.edits or self.seen is None or self.mask is None:
            return Categorical(logits=self._full()).nll(x)
        return item_sum(apply(self.raw, self._missing, self.seen, x))

    def _missing(self, logits: Tensor, ids: Tensor, target: Tensor) -> Tensor:
        """Minus log probabilities, worked out at masked places only."""
        hidden = ids == self.mask
        picked = logits[hidden]
        picked = picked.to(torch.promote_types(picked.dtype, torch.float32)).clone()
        picked[:, self.mask] = -torch.inf
        told = F.cross_entropy(picked, target[hidden], reduction="none")
        other = torch.where(ids == target, 0.0, torch.inf).to(told)
        return other.masked_scatter(hidden, told)


def _without(mask: int) -> Callable[[Tensor], Tensor]:
    def fill(logits: Tensor) -> Tensor:
        return logits.index_fill(-1, torch.tensor([mask], device=logits.device), -torch.inf)

    return fill


def rows(q: Any, index: Tensor, mask: int | None, dtype: torch.dtype = torch.float64) -> Tensor:
    """(n, K) log probabilities of a posterior at flat places, the mask excluded.

    Raises:
        InputError: where the posterior excludes every token.
    """
    if isinstance(q, Tokens):
        out = q.rows(index, dtype)
    else:
        logits = leaf(q.logits)
        picked = logits.reshape(-1, logits.shape[-1])[index].to(dtype)
        if mask is not None:
            picked[:, mask] = -torch.inf
        out = picked.log_softmax(-1)
    if bool(out.isnan().any()):
        raise InputError("the denoiser excludes every token at some place, so none can be drawn")
    return out


def row_chunks(
    q: Any, places: Places, mask: int | None, dtype: torch.dtype = torch.float64
) -> Iterator[Tensor]:
    """`rows` of all places, a bounded number at a time."""
    size = max(1, _CHUNK // leaf(q.raw if isinstance(q, Tokens) else q.logits).shape[-1])
    for index in places.index.split(size):
        yield rows(q, index, mask, dtype)


def draw(q: Any, places: Places, mask: int | None, generator: Source) -> Tensor:
    """(n,) ids drawn at some places, by inverting the cumulative law in float64.

    One uniform number a place, of 53 bits: a race of K exponential ones in single precision loses
    every event rarer than 2^-24 (Zheng et al. 2024, arXiv:2409.02908, section 4).
    """
    u = places.uniform(generator)
    out, done = [u.new_zeros(0, dtype=torch.long)], 0
    for chunk in row_chunks(q, places, mask):
        below = chunk.exp_().cumsum_(-1)
        total = below[:, -1:].contiguous()
        level = u[done : done + len(chunk), None] * total
        pick = torch.searchsorted(below, level, right=True)
        top = torch.searchsorted(below, total)  # the last class of positive probability
        out.append(torch.minimum(pick, top)[:, 0])
        done += len(chunk)
    return torch.cat(out)


def told(q: Any, places: Places, ids: Tensor, mask: int | None) -> Tensor:
    """(n,) log probabilities of tokens at some places."""
    out, done = [ids.new_zeros(0, dtype=torch.float64)], 0
    for chunk in row_chunks(q, places, mask):
        out.append(chunk.gather(-1, ids[done : done + len(chunk), None])[:, 0])
        done += len(chunk)
    return torch.cat(out)
