"""The tokens of a state laid end to end, whatever its layout, and the few that a step is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Padded, Ragged, expand, random
from sfumato.random import Source
from sfumato.state import apply, leaf

__all__ = ["Places", "at", "put"]


@dataclass(frozen=True)
class Places:
    """Some places of a state, in order.

    Attributes:
        index: (n,) where they lie in its flattened data.
        owner: (n,) item of each, not decreasing.
        rank: (n,) number of each in its item, counting all valid places.
        items: number of items B.
    """

    index: Tensor
    owner: Tensor
    rank: Tensor
    items: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def counts(self) -> Tensor:
        """(B,) places of each item."""
        return torch.bincount(self.owner, minlength=self.items)

    def pick(self, chosen: Tensor) -> Places:
        """The places at which a mask (n,) holds, or those with numbers (m,) that ascend."""
        return replace(
            self, index=self.index[chosen], owner=self.owner[chosen], rank=self.rank[chosen]
        )

    def hidden(self, x: Any, mask: int) -> Places:
        """Those that hold the mask."""
        return self.pick(self.read(x) == mask)

    def read(self, values: Any) -> Tensor:
        """(n,) entries of a state of this layout."""
        flat: Tensor = leaf(values).reshape(-1)[self.index]
        return flat

    def time(self, x: Any, t: Tensor) -> Tensor:
        """(n,) a time, or a coefficient made from one, at each place."""
        if t.ndim == 0:
            return t.to(self.index.device).expand(len(self))
        return self.read(expand(x, t).expand(leaf(x).shape))

    def uniform(self, generator: Source) -> Tensor:
        """(n,) uniform draws on [0, 1), float64."""
        like = Ragged(torch.zeros_like(self.index), self.owner, self.items)
        drawn: Tensor = random.draw(like, random.uniform, generator).data
        return drawn

    def best(self, score: Tensor, count: Tensor) -> Tensor:
        """(n,) whether a place is among the `count` (B,) highest scores of its item."""
        return self.order(score) < count[self.owner]

    def order(self, score: Tensor) -> Tensor:
        """(n,) how many places of the same item have a higher score (or an equal one, before)."""
        by_score = torch.argsort(score, descending=True, stable=True)
        by_item = by_score[torch.argsort(self.owner[by_score], stable=True)]
        counts = self.counts
        start = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        place = torch.arange(len(self), device=score.device)
        return torch.empty_like(place).scatter_(0, by_item, place - start)


def at(x: Any) -> Places:
    """All valid places of a state of ids."""
    data = leaf(x)
    if not isinstance(x, Padded | Ragged | Tensor):
        raise InputError(f"tokens come as a Tensor, Padded or Ragged, not as {type(x).__name__}")
    index = torch.arange(data.numel(), device=data.device)
    if isinstance(x, Ragged):
        owner, items = x.owner.repeat_interleave(data[:1].numel()), x.items
    else:
        items = len(data)
        owner = index // max(data[:1].numel(), 1)
    if isinstance(x, Padded):
        mask = x.mask.reshape(x.mask.shape + (1,) * (data.ndim - x.mask.ndim))
        valid = mask.expand(data.shape).reshape(-1)
        index, owner = index[valid], owner[valid]
    counts = torch.bincount(owner, minlength=items)
    rank = torch.arange(len(index), device=data.device) - (counts.cumsum(0) - counts)[owner]
    return Places(index, owner, rank, items)


def put(x: Any, index: Tensor, values: Tensor) -> Any:
    """A copy of the state with `values` at flat places."""
    return apply(x, lambda v: v.reshape(-1).index_copy(0, index, values.to(v)).reshape(v.shape))
