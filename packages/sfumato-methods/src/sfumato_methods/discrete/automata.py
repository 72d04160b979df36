"""Hard constraints: texts that an automaton accepts, whichever sampler draws them.

The denoiser says p(x_i) at each hidden place; the constrained law is their product restricted to
the accepted sequences and normalised. It ties places together, but as a chain: its marginals and
joint draws come from one pass of messages in each direction over the states of the automaton
(Baum et al. 1970, "A maximization technique ..."; Rabiner 1989), in O(L S C) with S states and C
classes of tokens that the automaton does not tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from sfumato import Denoiser, InputError, Padded, Unsupported
from sfumato.random import Source
from sfumato.state import Time, leaf

from .places import Places, at
from .tokens import Edit, Tied, Tokens, pick

__all__ = ["Automaton", "Constrained"]


@dataclass(frozen=True, eq=False)
class Automaton:
    """A deterministic automaton over token ids, which begins in state 0.

    Attributes:
        next: (S, C) state after a token of each class; S where there is none.
        kind: (K,) class of each token.
        accepts: (S,) bool, in which states a sequence may end.
    """

    next: Tensor
    kind: Tensor
    accepts: Tensor

    @classmethod
    def of(cls, table: Tensor, accepts: Tensor) -> Automaton:
        """From (S, K) states after each token, S where there is none."""
        columns, kind = torch.unique(table, dim=1, return_inverse=True)
        return cls(columns.long(), kind, accepts)

    @classmethod
    def allowing(cls, allowed: Tensor) -> Automaton:
        """Sequences of L tokens with a list of its own for each place: allowed (L, K) bool."""
        length = len(allowed)
        step = torch.arange(1, length + 1)[:, None]
        table = torch.where(allowed, step, length + 1)
        last = torch.full_like(table[:1], length + 1)
        ends = torch.arange(length + 1) == length
        return cls.of(torch.cat((table, last)), ends)

    def to(self, device: torch.device) -> Automaton:
        """The same on a device."""
        return Automaton(self.next.to(device), self.kind.to(device), self.accepts.to(device))


class Constrained(Denoiser):
    """A denoiser of sequences that are accepted by an automaton, in part or as a whole.

    Its posteriors are joint ones: samplers that draw tokens by `draw` (all that go from mask to
    token) draw them so that they fit each other, others are told that they cannot.

    Args:
        denoiser: returns `Tokens` over (B, L) ids of a chain that only masks.
        automaton: over the classes of the chain.
        begin: (B,) place from which on it reads, to the end of each item; None: from the first.
    """

    def __init__(
        self, denoiser: Denoiser, automaton: Automaton, begin: Tensor | None = None
    ) -> None:
        super().__init__()
        self.denoiser, self.automaton, self.begin = denoiser, automaton, begin

    def given(self, **condition: Any) -> Self:
        return type(self)(self.denoiser.given(**condition), self.automaton, self.begin)

    def forward(self, x: Any, t: Time) -> Tokens:
        q = self.denoiser(x, t)
        if not isinstance(q, Tokens) or q.seen is None or leaf(q.seen).ndim != 2:
            raise Unsupported("an automaton constrains sequences (B, L) of a chain that only masks")
        return _Accepted(q, self.automaton.to(leaf(x).device), self.begin)


class _Accepted(Tied):
    """The product of the laws of `q` over what an automaton accepts."""

    __slots__ = ("_after", "_before", "automaton", "q", "weight")

    def __init__(self, q: Tokens, automaton: Automaton, begin: Tensor | None) -> None:
        super().__init__(q.raw, q.mask, q.seen, q.edits)
        self.q, self.automaton = q, automaton
        ids = leaf(q.seen)
        reads = q.seen.mask if isinstance(q.seen, Padded) else torch.ones_like(ids).bool()
        if begin is not None:
            reads = reads & (torch.arange(ids.shape[1], device=ids.device) >= begin[:, None])
        self.weight = self._weights(ids, reads)
        self._after = self._backward(reads, self._reached(reads))
        if not bool((self._after[:, 0, 0] > 0).all()):
            item = int((self._after[:, 0, 0] <= 0).nonzero()[0])
            raise InputError(
                f"item {item} cannot be filled as its pattern asks: nothing of its length that "
                "keeps what is known matches (or the model excludes all that does)"
            )
        self._before = self._forward(reads)

    def _weights(self, ids: Tensor, reads: Tensor) -> Tensor:
        """(B, L, C) probability of each class of tokens; all 0 where nothing is read."""
        kind, classes = self.automaton.kind, self.automaton.next.shape[1]
        flat = torch.zeros(ids.numel(), classes, dtype=torch.float64, device=ids.device)
        hidden = (self._hidden(ids) & reads).reshape(-1).nonzero()[:, 0]
        known = (~self._hidden(ids) & reads).reshape(-1).nonzero()[:, 0]
        flat[known, kind[ids.reshape(-1)[known]]] = 1.0
        law = self.q.rows(hidden).double().softmax(-1)
        flat.index_copy_(0, hidden, law.new_zeros(len(hidden), classes).index_add_(1, kind, law))
        return flat.view(*ids.shape, classes)

    def _reached(self, reads: Tensor) -> Tensor:
        """(B, L + 1, S + 1) bool: states in which a sequence can be before each place."""
        states, classes = self.automaton.next.shape
        target = self.automaton.next.reshape(-1)
        now = torch.zeros(len(reads), states + 1, dtype=torch.float64, device=reads.device)
        now[:, 0] = 1.0
        found = [now]
        for i in range(reads.shape[1]):
            moved = now[:, :states, None] * (self.weight[:, i, None] > 0)
            value = torch.zeros_like(now).index_add_(1, target, moved.reshape(len(now), -1))
            now = torch.where(reads[:, i, None], (value > 0).double(), now)
            found.append(now)
        return torch.stack(found, 1) > 0

    def _backward(self, reads: Tensor, reached: Tensor) -> Tensor:
        """(B, L + 1, S + 1) probability, up to a factor, of being accepted from each state on.

        0 for states that are not reached: beside one of them what matters might vanish.
        """
        step, length = self.automaton.next, reads.shape[1]
        ends = torch.cat((self.automaton.accepts, self.automaton.accepts.new_zeros(1))).double()
        found = ends * reached
        for i in reversed(range(length)):
            later = found[:, i + 1]
            value = (later[:, step] * self.weight[:, i, None]).sum(-1)
            value = torch.nn.functional.pad(value, (0, 1)) * reached[:, i]
            top = value.amax(-1, keepdim=True)
            value = torch.where(top > 0, value / top, 0.0)
            found[:, i] = torch.where(reads[:, i, None], value, later)
        return found

    def _forward(self, reads: Tensor) -> Tensor:
        """(B, L, S) law of the state before each place given what is before, where it can go on."""
        states, classes = self.automaton.next.shape
        target = self.automaton.next.reshape(-1)
        now = torch.zeros(len(reads), states, dtype=torch.float64, device=reads.device)
        now[:, 0] = 1.0
        found = []
        for i in range(reads.shape[1]):
            found.append(now)
            moved = (now[:, :, None] * self.weight[:, i, None]).reshape(-1, states * classes)
            value = now.new_zeros(len(now), states + 1).index_add_(1, target, moved)[:, :states]
            value = torch.where(self._after[:, i + 1, :states] > 0, value, 0.0)
            total = value.sum(-1, keepdim=True)
            value = torch.where(total > 0, value / total, 0.0)
            now = torch.where(reads[:, i, None], value, now)
        return torch.stack(found, 1)

    def rows(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """(n, K) log probabilities of the marginals at flat places."""
        item, place = index // self.weight.shape[1], index % self.weight.shape[1]
        later = self._after[item, place + 1][:, self.automaton.next]  # (n, S, C)
        reach = (self._before[item, place][:, :, None] * later).sum(1)
        reach = torch.where((self.weight[item, place].sum(-1) > 0)[:, None], reach, 1.0)
        law = self.q.rows(index, out).double().log_softmax(-1)
        return law + reach.log()[:, self.automaton.kind]

    def draw(self, places: Places, generator: Source) -> tuple[Tensor, Tensor]:
        """Ids at some places, drawn together, and the log probabilities of their marginals.

        Classes of tokens are drawn from the first place to the last, each given the state before
        it, at every place of the items concerned; then the tokens at the places asked for.
        """
        every = at(self.seen)
        busy = torch.zeros(every.items, dtype=torch.bool, device=places.index.device)
        busy[places.owner] = True
        spots = every.pick(busy[every.owner])
        u = torch.zeros(self.weight.shape[:2], dtype=torch.float64, device=places.index.device)
        u.view(-1)[spots.index] = spots.uniform(generator)
        state = torch.zeros(len(u), dtype=torch.long, device=u.device)
        chosen = []
        for i in range(u.shape[1]):
            step = self.automaton.next[state.clamp(max=len(self.automaton.next) - 1)]
            law = self.weight[:, i] * self._after[:, i + 1].gather(1, step)
            read = self.weight[:, i].sum(-1) > 0
            one = pick(torch.where(read[:, None], law, 1.0), u[:, i, None])
            chosen.append(torch.where(read[:, None], one, -1))
            state = torch.where(read, step.gather(1, one)[:, 0], state)
        kind = torch.cat(chosen, 1).view(-1)[places.index, None]
        law = self.q.rows(places.index).double().log_softmax(-1)
        other = (self.automaton.kind != kind) & (kind >= 0)
        inside = law.masked_fill(other, -torch.inf).softmax(-1)
        ids = pick(inside, places.uniform(generator)[:, None])
        told = self.rows(places.index).log_softmax(-1).gather(-1, ids)
        return ids[:, 0], told[:, 0]

    def edited(self, edit: Edit) -> NoReturn:
        raise Unsupported("a constrained law is not sharpened; sharpen the denoiser inside it")
