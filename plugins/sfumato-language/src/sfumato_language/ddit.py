"""The transformer that SEDD, MDLM, BD3LM and Duo share, as a network over token ids of ours.

Pre-norm blocks with rotary positions and a GELU, shifted, scaled and gated by the noise level
(adaLN; Peebles & Xie 2023, arXiv:2212.09748, for text: Lou et al. 2023, arXiv:2310.16834). The
published ones are told sigma = -log keep(t), and differ in what they make of it.
"""

from __future__ import annotations

__all__ = ["BlockwiseTransformer", "NoiseTransformer", "ScoreTransformer", "Shape"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import InputError, Padded
from sfumato_nn.attention import attend
from sfumato_nn.memory import Memory, beside, reads
from sfumato_nn.positions import Rotary, rotary, rotate

_FREQUENCIES = 128
_SLOWEST = 10_000.0


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, and what it is told.

    Attributes:
        classes: ids that it knows, K.
        width: channels a token.
        depth: number of blocks.
        heads: attention heads.
        condition: channels of the embedding of sigma; None: blocks are not modulated.
        sigma: least and largest sigma that it was trained with; None: it is told 0 at all times.
        block: tokens of a block, where a token reads its own block and those before; None: all of
            them.
    """

    classes: int
    width: int
    depth: int
    heads: int
    condition: int | None
    sigma: tuple[float, float] | None
    block: int | None = None

    def __post_init__(self) -> None:
        block = 1 if self.block is None else self.block
        if min(self.classes, self.width, self.depth, self.heads, block) < 1:
            raise InputError(f"the sizes of a transformer are at least 1, but these are {self}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(f"width {self.width} does not split into {self.heads} even heads")


class NoiseTransformer(nn.Module):
    """Token ids (B, L) and a noise level to logits (B, L, K).

    Args:
        shape: its sizes.
        tokens: ids that a tokenizer knows; what is said of those beyond becomes -inf.
    """

    def __init__(self, shape: Shape, tokens: int) -> None:
        super().__init__()
        self.shape, self.tokens = shape, tokens
        width, told = shape.width, shape.condition
        self.table = nn.Embedding(shape.classes, width)
        self.level = (
            None
            if told is None
            else nn.Sequential(nn.Linear(2 * _FREQUENCIES, told), nn.SiLU(), nn.Linear(told, told))
        )
        self.blocks = nn.ModuleList(_Block(width, shape.heads, told) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.modulation = None if told is None else nn.Linear(told, 2 * width)
        self.head = nn.Linear(width, shape.classes)

    def forward(self, x: Tensor | Padded, clock: Tensor, *, at: Tensor | None = None) -> Any:
        """Logits (B, L, K) in the container of `x`; of the tokens `at` alone, (N, K).

        Args:
            x: ids; what is padded is read by no token.
            clock: (B,) log((1 - keep)/keep) of the process.
            at: (B, L) bool.

        Raises:
            InputError: for ids outside the table.
        """
        ids, real = (x.data, x.mask) if isinstance(x, Padded) else (x, None)
        signal = self._signal(clock)
        hidden, _ = self._through(ids, real, signal, None)
        logits = self._logits(hidden, signal, clock, at)
        return Padded(logits, x.mask) if at is None and isinstance(x, Padded) else logits

    def _signal(self, clock: Tensor) -> Tensor | None:
        """(B, 1, C) of the noise level, or None."""
        if self.level is None:
            return None
        sigma = torch.zeros_like(clock)
        if self.shape.sigma is not None:
            low, high = self.shape.sigma
            sigma = F.softplus(clock).clamp(low, high)  # log(1 + (1 - a)/a) = -log a
        place = torch.arange(_FREQUENCIES, device=clock.device) / _FREQUENCIES
        angle = sigma[:, None] * torch.exp(-math.log(_SLOWEST) * place)
        weight: Tensor = self.head.weight
        features = torch.cat((angle.cos(), angle.sin()), -1).to(weight.dtype)
        return F.silu(self.level(features))[:, None]

    def _through(
        self, ids: Tensor, real: Tensor | None, signal: Tensor | None, memory: Memory | None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Vectors (B, L, W) behind all blocks, and their keys and values in each."""
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.shape.classes:
            raise InputError(
                f"there is a token id {int(ids.max())}, and this network knows 0 to "
                f"{self.shape.classes - 1}"
            )
        start, length = 0 if memory is None else memory.start, ids.shape[1]
        size = self.shape.width // self.shape.heads
        cos, sin = rotary((start + length,), size, ids.device)
        mask = reads(None if real is None or bool(real.all()) else real, level=self._level(ids))
        if memory is not None:
            mask = beside(memory, mask, length)
        hidden, pairs = self.table(ids), []
        for i, block in enumerate(self.blocks):
            past = None if memory is None else (memory.keys[i], memory.values[i])
            hidden, pair = block(hidden, signal, (cos[start:], sin[start:]), mask, past)
            pairs.append(pair)
        return hidden, pairs

    def _level(self, ids: Tensor) -> Tensor | None:
        """(1, L) number of the block of each token."""
        if self.shape.block is None or ids.shape[1] <= self.shape.block:
            return None
        return torch.arange(ids.shape[1], device=ids.device)[None] // self.shape.block

    def _logits(
        self, hidden: Tensor, signal: Tensor | None, clock: Tensor, at: Tensor | None
    ) -> Tensor:
        y: Tensor = self.norm(hidden)
        if self.modulation is not None:
            shift, scale = self.modulation(signal).chunk(2, -1)
            y = y * (1 + scale) + shift
        logits: Tensor = self.head(y if at is None else y[at])
        unknown = torch.arange(self.shape.classes, device=logits.device) >= self.tokens
        return logits.masked_fill(unknown, -torch.inf)


class ScoreTransformer(NoiseTransformer):
    """One that was trained to say log p_t(y)/p_t(x) of a chain that masks.

    What it says of masked places is made relative to log(a/(1 - a)), a = keep(t), as
    `sfumato_methods.discrete.RatioDenoiser` wants it.

    Args:
        shape: its sizes.
        tokens: see `NoiseTransformer`.
        scaled: whether it says log p_t(y)/p_t(x) - log(a/(1 - a)) + log(K - 1) by itself
            (Lou et al. 2023, arXiv:2310.16834, appendix C.2), and not the whole ratio.
    """

    def __init__(self, shape: Shape, tokens: int, scaled: bool) -> None:
        super().__init__(shape, tokens)
        self.scaled = scaled

    def _logits(
        self, hidden: Tensor, signal: Tensor | None, clock: Tensor, at: Tensor | None
    ) -> Tensor:
        logits = super()._logits(hidden, signal, clock, at)
        if self.scaled:
            return logits - math.log(self.shape.classes - 1)
        if at is None:
            return logits + clock[:, None, None]
        return logits + clock[:, None].expand(at.shape)[at][:, None]


class BlockwiseTransformer(NoiseTransformer):
    """One whose blocks see only those before, and which is not told the noise level.

    Then keys and values of finished blocks hold for good: what it says with a memory of them is
    what it says without (Arriola et al. 2025, arXiv:2503.09573, section 3.2).
    """

    def recall(
        self, x: Tensor | Padded, clock: Tensor, span: slice, **context: Any
    ) -> Callable[[Any, Tensor], Any]:
        """The network at the places of a block, those before held as they are.

        What `sfumato_methods.discrete.Blocks` uses.

        Returns:
            A function of (x[:, span], clock) to logits.

        Raises:
            InputError: if the span is not a block of this network.
        """
        ids, real = (x.data, x.mask) if isinstance(x, Padded) else (x, None)
        size = self.shape.block
        start, stop, _ = span.indices(ids.shape[1])
        if size is None or start % size or stop not in (start + size, ids.shape[1]):
            raise InputError(
                f"this model writes blocks of {size} tokens, and the sampler asks for places "
                f"{start} to {stop}; use Blocks(length={size}), as the model itself does"
            )
        memory = None
        if start:
            before = None if real is None else real[:, :start]
            _, pairs = self._through(ids[:, :start], before, self._signal(clock), None)
            keys, values = zip(*pairs, strict=True)
            memory = Memory(tuple(keys), tuple(values), start, before)

        def inside(part: Tensor | Padded, clock: Tensor) -> Any:
            ids, real = (part.data, part.mask) if isinstance(part, Padded) else (part, None)
            signal = self._signal(clock)
            hidden, _ = self._through(ids, real, signal, memory)
            logits = self._logits(hidden, signal, clock, None)
            return Padded(logits, part.mask) if isinstance(part, Padded) else logits

        return inside


class _Block(nn.Module):
    """Attention, then an MLP; shifted, scaled and gated by a signal where there is one."""

    def __init__(self, width: int, heads: int, told: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.inward = nn.Linear(width, 3 * width, bias=False)
        self.outward = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )
        self.modulation = None if told is None else nn.Linear(told, 6 * width)

    def forward(
        self,
        x: Tensor,
        signal: Tensor | None,
        positions: Rotary,
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map tokens x (B, L, W); also their keys and values (B, H, L, D)."""
        told = None if self.modulation is None else self.modulation(signal).chunk(6, -1)
        h = self.norm1(x)
        if told is not None:
            h = h * (1 + told[1]) + told[0]
        q, k, v = self.inward(h).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = (rotate(one, positions).to(v.dtype) for one in (q, k))
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))
        own = k, v
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        y = self.outward(attend(q, k, v, mask).transpose(1, 2).flatten(-2))
        if told is None:
            x = x + y
            return x + self.mlp(self.norm2(x)), own
        x = x + told[2] * y
        return x + told[5] * self.mlp(self.norm2(x) * (1 + told[4]) + told[3]), own
