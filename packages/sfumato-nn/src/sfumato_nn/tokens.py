"""A bidirectional transformer over token ids, for masked and other discrete diffusion models."""

from __future__ import annotations

__all__ = ["Block", "TokenTransformer"]

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Padded
from sfumato.errors import InputError

from .attention import Attention, attend
from .embed import ClockEmbedding
from .layers import SwiGLU, zeroed
from .memory import Memory, beside, reads
from .positions import Rotary, rotary


class TokenTransformer(nn.Module):
    """Token ids to logits over ids; every token sees every other one, unless it is told not to.

    Pre-norm blocks with normalised queries and keys, rotary positions and SwiGLU; input and output
    share one table of embeddings. Without a clock (`time=False`) it is a plain masked language
    model: the posterior of a masked diffusion does not depend on time (Ou et al. 2024,
    arXiv:2406.03736; Zheng et al. 2024, arXiv:2409.02908). With one, blocks are shifted, scaled and
    gated by it (adaLN-zero; Peebles & Xie 2023, arXiv:2212.09748).

    Blocks start as the identity, and attention near each token: queries and keys share a direction
    that the rotation leaves aligned at distance 0 alone. Without it masked models of characters sit
    on the frequencies of single ids for hundreds of steps before they look at neighbours.

    Args:
        vocabulary: number of ids K, a mask included where there is one.
        width: channels per token.
        depth: number of blocks.
        heads: attention heads; width / heads is even.
        time: whether the network is told the clock.
        near: strength of that direction, against a scatter of 0.58; 0 where what is to be read
            stands far off, as a picture before a caption.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        time: bool = False,
        near: float = 2.0,
    ) -> None:
        super().__init__()
        if vocabulary < 2 or depth < 1:
            raise InputError(
                f"a token transformer needs two ids and a block, got vocabulary={vocabulary}, "
                f"depth={depth}"
            )
        self.vocabulary, self.head = vocabulary, width // heads
        self.table = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.table.weight, std=0.02)
        self.clock = ClockEmbedding(width) if time else None
        self.blocks = nn.ModuleList(Block(width, heads, time, near) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def encode(
        self,
        *,
        document: Tensor | None = None,
        level: Tensor | None = None,
        at: Tensor | None = None,
        memory: Memory | None = None,
    ) -> dict[str, Any]:
        """The context that `forward` takes; what says nothing is left out.

        Raises:
            InputError: for a document or a level that is no (B, L) of integers.
        """
        for name, value in (("document", document), ("level", level)):
            if value is not None and (value.ndim != 2 or value.is_floating_point()):
                raise InputError(
                    f"{name} is one integer for each token, (B, L), not {value.dtype} of shape "
                    f"{tuple(value.shape)}"
                )
        if document is not None and not bool(document.any()):
            document = None
        given = {"document": document, "level": level, "at": at, "memory": memory}
        return {name: value for name, value in given.items() if value is not None}

    def forward(
        self,
        x: Tensor | Padded,
        clock: Tensor,
        *,
        document: Tensor | None = None,
        level: Tensor | None = None,
        at: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Any:
        """Logits (B, L, K), in the container of `x`.

        Args:
            x: ids (B, L), long, or probabilities of ids (B, L, K), whose embedding is the mean of
                theirs; what is padded is read by no token.
            clock: (B,); not looked at if `time=False`.
            document: (B, L) integers: a token reads those of its own document; below 0: none.
            level: (B, L) integers: a token reads those of its own level and lower ones, so that
                what stands at a lower level does not depend on the higher ones (prefixes, blocks).
            at: (B, L) bool: the tokens whose logits are wanted, (N, K) in their order; others are
                only read by them in the last block, and the rest of its and the head's work is
                spared.
            memory: of tokens that are read beside those of `x`, see `remember`, by all of them.

        Raises:
            InputError: for an id outside the vocabulary, documents with a memory, or levels or
                padding with one that says already what a token of its block reads.
        """
        hidden, _ = self._hidden(x, clock, document, level, memory, at)
        if at is not None:
            return self._logits(hidden)
        logits = self._logits(hidden)
        return Padded(logits, x.mask) if isinstance(x, Padded) else logits

    def remember(
        self,
        x: Tensor | Padded,
        clock: Tensor,
        *,
        block: slice | None = None,
        document: Tensor | None = None,
        level: Tensor | None = None,
    ) -> Memory:
        """The keys and values of tokens that a block to come will read.

        With a prefix alone in `x` it is exact for a model whose prefixes do not read what follows
        (`level`): logits with the memory are those without. With a whole canvas and its `block`
        it is the dual cache of Wu et al. 2025 (arXiv:2505.22618): exact until a token of the block
        changes, from then on an approximation.

        Args:
            x: ids (B, L).
            clock: (B,).
            block: places of `x` that are left out, without a step; None: none, the block follows
                and reads all that is no padding.
            document: see `forward`.
            level: see `forward`.
        """
        _, pairs = self._hidden(x, clock, document, level, None)
        ids, real = (x.data, x.mask) if isinstance(x, Padded) else (x, None)
        keys, values = zip(*pairs, strict=True)
        if block is None:
            return Memory(tuple(keys), tuple(values), ids.shape[1], real)
        place = torch.arange(ids.shape[1], device=ids.device)
        own = place[block]
        rest = place[~torch.isin(place, own)]
        mask = reads(real, document, level)
        if mask is not None:
            order = torch.cat((rest, own))
            mask = mask[:, own][:, :, order] if mask.ndim == 3 else mask[:, order]
        keys = tuple(k[:, :, rest] for k in keys)
        values = tuple(v[:, :, rest] for v in values)
        return Memory(keys, values, block.indices(ids.shape[1])[0], mask)

    def prefill(self, prefix: Tensor) -> Memory:
        """The memory of a prefix of vectors, such as a picture: ids that follow read it.

        The prefix reads itself alone, so that logits with the memory are those of the whole
        (Li et al. 2025, arXiv:2505.16839, section 3.3, "Prefix-DLM"). Gradients go through it.

        Args:
            prefix: (B, P, width).

        Raises:
            InputError: for another width, or a network with a clock, for which no memory holds.
        """
        width = self.table.embedding_dim
        if prefix.ndim != 3 or prefix.shape[-1] != width:
            raise InputError(f"a prefix is of shape (B, P, {width}), but was {tuple(prefix.shape)}")
        if self.clock is not None:
            raise InputError("what is remembered of a prefix holds at all times: give time=False")
        _, pairs = self._through(prefix, prefix.new_zeros(len(prefix)), None, None)
        keys, values = zip(*pairs, strict=True)
        return Memory(tuple(keys), tuple(values), prefix.shape[1])

    def extend(self, x: Tensor, clock: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Logits (B, L, K) of ids that follow a memory, and the memory with these in it.

        With one id at a time it is what an autoregressive model does with its KV cache: the logits
        are those of the whole with `level` 0, 1, 2, ...

        Args:
            x: ids (B, L), long, which read each other and the memory.
            clock: (B,).
            memory: of a prefix, see `prefill` and `remember`.
        """
        hidden, pairs = self._hidden(x, clock, None, None, memory)
        kept = zip(memory.keys, memory.values, pairs, strict=True)
        both = [(torch.cat((k, mine[0]), 2), torch.cat((v, mine[1]), 2)) for k, v, mine in kept]
        keys, values = zip(*both, strict=True)
        mask = memory.mask
        mask = None if mask is None else F.pad(mask, (0, x.shape[1]), value=True)
        longer = Memory(tuple(keys), tuple(values), memory.start + x.shape[1], mask)
        return self._logits(hidden), longer

    def recall(
        self, x: Tensor | Padded, clock: Tensor, span: slice, **context: Any
    ) -> Callable[[Any, Tensor], Any]:
        """The network at the places of a span, the rest of `x` held as it is: see `remember`.

        What samplers of blocks use (`sfumato_methods.discrete.Blocks`).

        Returns:
            A function of (x[:, span], clock) to logits.
        """
        told = {name: context[name] for name in ("document", "level") if name in context}
        memory = self.remember(x, clock, block=span, **told)

        def inside(part: Tensor | Padded, clock: Tensor) -> Any:
            ids = part.data if isinstance(part, Padded) else part
            logits = self(ids, clock, memory=memory)
            return Padded(logits, part.mask) if isinstance(part, Padded) else logits

        return inside

    def _hidden(
        self,
        x: Tensor | Padded,
        clock: Tensor,
        document: Tensor | None,
        level: Tensor | None,
        memory: Memory | None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        ids, real = (x.data, x.mask) if isinstance(x, Padded) else (x, None)
        if real is not None and bool(real.all()):
            real = None
        if memory is not None and document is not None:
            raise InputError("a memory goes without documents")
        self._check(ids)
        soft = ids.is_floating_point()
        hidden = ids @ self.table.weight if soft else self.table(ids)
        return self._through(hidden, clock, reads(real, document, level), memory, at)

    def _through(
        self,
        hidden: Tensor,
        clock: Tensor,
        mask: Tensor | None,
        memory: Memory | None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Vectors (B, L, width) through all blocks, and their keys and values in each."""
        start = 0 if memory is None else memory.start
        cos, sin = rotary((start + hidden.shape[1],), self.head, hidden.device)
        positions = cos[start:], sin[start:]
        if memory is not None:
            mask = beside(memory, mask, hidden.shape[1])
        signal = None if self.clock is None else F.silu(self.clock(clock))[:, None]
        pairs: list[tuple[Tensor, Tensor]] = []
        for i, block in enumerate(self.blocks):
            past = None if memory is None else (memory.keys[i], memory.values[i])
            chosen = at if i + 1 == len(self.blocks) else None
            hidden, pair = block(hidden, signal, positions, mask, past, chosen)
            pairs.append(pair)
        return hidden, pairs

    def _check(self, ids: Tensor) -> None:
        if ids.is_floating_point() and ids.ndim == 3 and ids.shape[2] == self.vocabulary:
            return
        if ids.ndim != 2 or ids.dtype != torch.long:
            raise InputError(
                f"token ids are long of shape (B, L), not {ids.dtype} of shape {tuple(ids.shape)}"
            )
        if ids.is_meta or not ids.numel():
            return
        low, high = ids.aminmax()
        if int(low) < 0 or int(high) >= self.vocabulary:
            wrong = low if int(low) < 0 else high
            raise InputError(
                f"there is a token id {int(wrong)}, and this network knows 0 to "
                f"{self.vocabulary - 1}"
            )

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(self.norm(hidden), self.table.weight, self.bias)


class Block(nn.Module):
    """Attention, then an MLP; shifted, scaled and gated by a signal where there is one."""

    def __init__(self, width: int, heads: int, time: bool = False, near: float = 0.0) -> None:
        super().__init__()
        self.modulation = zeroed(nn.Linear(width, 6 * width)) if time else None
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.attention = Attention(width, heads, zero=not time)
        self.mlp = SwiGLU(width)
        if not time:
            zeroed(self.mlp.outward)
        _begin_near(self.attention, near)

    def forward(
        self,
        x: Tensor,
        signal: Tensor | None,
        positions: Rotary,
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map tokens x (B, L, W), or (N, W) those `at`; also the keys and values of all."""
        if self.modulation is None:
            y, pair = self._mixed(self.norm1(x), positions, mask, past, at)
            x = (x if at is None else x[at]) + y
            return x + self.mlp(self.norm2(x)), pair
        told = self.modulation(signal)
        shift1, scale1, gate1, shift2, scale2, gate2 = told.chunk(6, dim=-1)
        h = self.norm1(x) * (1 + scale1) + shift1
        y, pair = self._mixed(h, positions, mask, past, at)
        if at is not None:
            x, told = x[at], told.expand(*at.shape, -1)[at]
            _, _, gate1, shift2, scale2, gate2 = told.chunk(6, dim=-1)
        x = x + gate1 * y
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2), pair

    def _mixed(
        self,
        x: Tensor,
        positions: Rotary,
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
        at: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = self.attention.project(x, positions)
        own = k, v
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        read = attend(q, k, v, mask).transpose(1, 2).flatten(-2)
        y: Tensor = self.attention.outward(read if at is None else read[at])
        return y, own


@torch.no_grad()
def _begin_near(attention: Attention, near: float) -> None:
    """Give queries and keys a direction in common, of mean 0, which the norm leaves as it is.

    With u_i = 1, u_(i + D/2) = -1 in each plane, logits at distance d get sqrt(D) mean_i cos(w_i d)
    times the share of u in their variance, w_i being the speed of plane i.
    """
    bias = attention.inward.bias.view(3, attention.heads, 2, -1)
    bias[:2, :, 0] += near
    bias[:2, :, 1] -= near
