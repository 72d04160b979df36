"""Counted contexts: what stood beside such tokens in other texts, mixed into what a network says.

Contexts are chains of neighbours, each longer by one: those before a token, those behind it, those
on both sides, and those from the second on, where the first is hidden. Of each chain the longest
context counts that is known whole and is among the most frequent. Its law is interpolated with
those of the shorter ones (Witten & Bell, IEEE Transactions on Information Theory 37, 1991), and the
laws of all chains are mixed as logits, by weights that are learned for each combination of lengths
(Mattern, "Mixing strategies in data compression", 2012): a masked model of any order, which a few
seconds of counting teach what thousands of steps would.
"""

from __future__ import annotations

__all__ = ["CHAINS", "Counted", "count"]

import math
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import Dataset, InputError, Padded
from sfumato.state import apply, leaf

from .windows import DOCUMENT

CHAINS = ((-1, -2, -3, -4, -5), (1, 2, 3, 4), (-1, 1, -2, 2, -3), (-2, -3, -4), (2, 3, 4))
"""Offsets of the neighbours that the contexts of each chain are made of, nearest first."""

_LONGEST = max(map(len, CHAINS))
_NONE = torch.iinfo(torch.int64).max
_RARE, _CHUNK, _WEIGHT = 3, 4096, 0.3  # times, windows, of each law at first


class Counted(nn.Module):
    """A network over ids, to whose logits those of counted contexts are added.

    Before `count` filled its tables all laws are even, and it is the network alone.

    Args:
        net: maps ids (B, L) or `Padded` and a clock to logits over K ids; takes `document` and
            `at`, as `TokenTransformer` does.
        vocabulary: K, the mask as its last id.
        rows: contexts of each chain, at most.

    Raises:
        InputError: for a vocabulary whose contexts have no number of 63 bits.
    """

    keys: Tensor
    laws: Tensor

    def __init__(self, net: nn.Module, vocabulary: int, rows: int) -> None:
        super().__init__()
        most = int(2 ** (63 / _LONGEST)) - 1
        if vocabulary > most:
            raise InputError(
                f"counted contexts go with vocabularies of at most {most} ids, not {vocabulary}; "
                "train with contexts=0"
            )
        self.net, self.vocabulary, self.rows = net, vocabulary, rows
        self.register_buffer("keys", torch.full((len(CHAINS), rows), _NONE))
        even = torch.full((len(CHAINS), rows + 1, vocabulary), -math.log(vocabulary - 1))
        self.register_buffer("laws", even.half())  # (chain, context, id) log p; the last: of none
        kinds = math.prod(len(chain) + 1 for chain in CHAINS)
        self.weight = nn.Parameter(torch.full((kinds, len(CHAINS)), _WEIGHT))

    def encode(self, **context: Any) -> dict[str, Any]:
        """See the network."""
        encode = getattr(self.net, "encode", None)
        found: dict[str, Any] = context if encode is None else encode(**context)
        return found

    def forward(self, x: Tensor | Padded, clock: Tensor, **context: Any) -> Any:
        """Logits (B, L, K) in the container of `x`, or (N, K) of the tokens `at`.

        Contexts say something of these, else of masked tokens: what is seen is carried over.
        """
        logits = self.net(x, clock, **context)
        ids, mask = leaf(x), self.vocabulary - 1
        real = x.mask if isinstance(x, Padded) else torch.ones_like(ids, dtype=torch.bool)
        known, at = real & (ids != mask), context.get("at")
        chosen = real & (ids == mask) if at is None else at
        said = self._said(_Places(ids, chosen, known, context.get("document")))
        if at is not None:
            return logits + said
        whole = torch.zeros_like(leaf(logits)).masked_scatter(chosen[..., None], said)
        return apply(logits, lambda values: values + whole)

    def _said(self, places: _Places) -> Tensor:
        """(N, K) the weighted log probabilities of all chains."""
        kind = torch.zeros_like(places.row)
        laws = []
        for chain, keys, table in zip(CHAINS, self.keys, self.laws, strict=True):
            context, length = torch.full_like(kind, self.rows), torch.zeros_like(kind)
            for size, key in enumerate(places.contexts(chain, self.vocabulary), 1):
                found = torch.searchsorted(keys, key).clamp_max(self.rows - 1)
                hit = keys[found] == key
                context, length = torch.where(hit, found, context), torch.where(hit, size, length)
            kind = kind * (len(chain) + 1) + length
            laws.append(table[context])
        weight = self.weight[kind]  # (N, C)
        return torch.einsum("nc,nck->nk", weight, torch.stack(laws, 1).to(weight.dtype))


class _Places:
    """Some tokens of windows, and what stands beside them.

    Args:
        ids: (B, L).
        at: (B, L) bool, the tokens.
        known: (B, L) bool, what may stand in a context.
        owner: (B, L) numbers of documents, across whose ends no context goes; None: one each.
    """

    def __init__(self, ids: Tensor, at: Tensor, known: Tensor, owner: Tensor | None) -> None:
        self.ids, self.known, self.owner = ids, known, owner
        self.row, self.column = at.nonzero(as_tuple=True)

    def contexts(self, chain: tuple[int, ...], base: int) -> list[Tensor]:
        """(N,) a number for each context of a chain, shortest first; -1: it is not known whole.

        The digits of a number are the ids at its offsets, plus one, to the base K + 1: that of the
        next shorter context is what is left without the last digit.
        """
        found = []
        number, whole = torch.zeros_like(self.row), torch.ones_like(self.row, dtype=torch.bool)
        for i, offset in enumerate(chain):
            column = self.column + offset
            there = self.row, column.clamp(0, self.ids.shape[1] - 1)
            whole = whole & (there[1] == column) & self.known[there]
            if self.owner is not None:
                whole = whole & (self.owner[there] == self.owner[self.row, self.column])
            number = number + (self.ids[there] + 1) * (base + 1) ** i
            found.append(torch.where(whole, number, -1))
        return found


@torch.no_grad()
def count(module: Counted, data: Dataset) -> None:
    """Fill the tables of a module from windows of text, which it should not learn its weights on.

    Args:
        module: whose buffers are filled.
        data: windows, as `Windows` gives them; contexts do not cross their ends.

    Raises:
        InputError: if there is no text.
    """
    if not len(data):
        raise InputError("there is no text to count contexts in; train with contexts=0")
    parts = [data.batch(range(i, min(i + _CHUNK, len(data)))) for i in range(0, len(data), _CHUNK)]
    places = [_Places(p.x.data, p.x.mask, p.x.mask, p.condition.get(DOCUMENT)) for p in parts]
    target = torch.cat([part.x.data[part.x.mask] for part in parts])
    classes = module.vocabulary - 1
    single = torch.bincount(target, minlength=classes)[:classes].double() + 1
    single = single / single.sum()
    for i, chain in enumerate(CHAINS):
        levels = [part.contexts(chain, module.vocabulary) for part in places]
        sizes = [torch.cat(same) for same in zip(*levels, strict=True)]
        keys, laws = _table(sizes, target, single, module.rows, module.vocabulary)
        module.keys[i, : len(keys)], module.keys[i, len(keys) :] = keys, _NONE
        module.laws[i, : len(keys), :classes] = laws.log().to(module.laws)
        module.laws[i, -1, :classes] = single.log().to(module.laws)


def _table(
    sizes: list[Tensor], target: Tensor, single: Tensor, rows: int, base: int
) -> tuple[Tensor, Tensor]:
    """The most frequent contexts of a chain, in order, and (R, K) the law of what stands there.

    A shorter context is at least as frequent as those that extend it, and comes first where they
    are even: it is always among them.
    """
    found = [torch.unique(each[each >= 0], return_counts=True) for each in sizes]
    keys, often = torch.cat([key for key, _ in found]), torch.cat([times for _, times in found])
    length = torch.cat([torch.full_like(key, k) for k, (key, _) in enumerate(found)])
    best = torch.argsort(often, descending=True, stable=True)[:rows]
    best = best[often[best] >= _RARE]
    keys, order = keys[best].sort()
    length = length[best][order]
    classes = len(single)
    counts = torch.zeros(len(keys) * classes, dtype=torch.long)
    for each in sizes:
        place = torch.searchsorted(keys, each).clamp_max(max(len(keys) - 1, 0))
        hit = (keys[place] == each) if len(keys) else torch.zeros_like(each, dtype=torch.bool)
        counts += torch.bincount(place[hit] * classes + target[hit], minlength=len(counts))
    table = counts.view(-1, classes).double()
    laws = torch.empty_like(table)
    for k in range(len(sizes)):
        here = (length == k).nonzero()[:, 0]
        kinds = (table[here] > 0).sum(1, keepdim=True)
        parent = torch.searchsorted(keys, keys[here] % (base + 1) ** k)
        below = laws[parent] if k else single
        laws[here] = (table[here] + kinds * below) / (table[here].sum(1, keepdim=True) + kinds)
    return keys, laws
