"""A diffusion transformer for tensors with one, two or three spatial dimensions of any size."""

from __future__ import annotations

__all__ = ["DiT"]

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError

from .attention import Attention
from .embed import ClockEmbedding, Condition, Conditioner
from .layers import SwiGLU, zeroed
from .positions import Rotary, rotary, waves
from .shapes import check_state, clocks, crop, join, pad, split


class DiT(nn.Module):
    """Patches as tokens, transformer blocks modulated by the clock and the context.

    Each block's branches are shifted, scaled and gated by the signal (adaLN-zero): with the
    gates at zero the blocks start as the identity, and the output at first is 0. Positions are
    computed, so sizes may differ from those seen in training; a size that the patch does not
    divide is padded with zeros and cropped.

    Peebles & Xie, "Scalable diffusion models with transformers", 2023, arXiv:2212.09748, here
    with normalised queries and keys, rotary positions and SwiGLU.

    Args:
        channels: channels of the input.
        out: channels of the output; as the input unless told.
        space: spatial dimensions, 1, 2 or 3.
        patch: length of a patch, or its length along each spatial axis.
        width: channels per token.
        depth: number of blocks.
        heads: attention heads; width / heads is even.
        classes: number of classes of the condition ``label``; 0 for none.
        vector: length of the condition ``vector``; 0 for none.
        absolute: whether tokens also know where they are, by fixed waves added to them; without,
            only how far they are apart, which suits data that may be moved or grow.
    """

    def __init__(
        self,
        channels: int,
        *,
        out: int | None = None,
        space: int = 2,
        patch: int | Sequence[int] = 2,
        width: int = 128,
        depth: int = 4,
        heads: int = 2,
        classes: int = 0,
        vector: int = 0,
        absolute: bool = True,
    ) -> None:
        super().__init__()
        if depth < 1 or heads < 1:
            raise InputError(f"a DiT needs a block and a head, got depth {depth}, heads {heads}")
        self.patch = _patch(patch, space)
        self.absolute = absolute
        self.channels, self.space, self.width, self.head = channels, space, width, width // heads
        volume = torch.Size(self.patch).numel()
        self.clock = ClockEmbedding(width)
        self.conditioner = Conditioner(width, classes, vector)
        self.inward = nn.Linear(channels * volume, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.outward = zeroed(nn.Linear(width, (out or channels) * volume))

    def encode(self, **condition: Condition) -> dict[str, Tensor]:
        """The ``context`` that `forward` takes; see `Conditioner.encode`."""
        return {"context": self.conditioner.encode(**condition)} if condition else {}

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Map x (B, channels, *space) to (B, out, *space).

        Args:
            x: the state, scaled to roughly unit variance.
            clock: (), (B,), or (B, F) with one clock for each of the F patches along the first
                spatial axis (frames of a video, tokens of a sequence); within [-10, 10].
            context: (B, width) from `encode`; unconditional when not given.
            mask: (B, *space) bool, true where x exists. What is padded is never read, and the
                output there is 0.

        Raises:
            InputError: for any other shape.
        """
        check_state(x, self.channels, self.space)
        if mask is not None:
            _check_mask(mask, x)
            x = torch.where(mask[:, None], x, 0)
        patches = split(pad(x, self.patch), self.patch)
        grid = patches.shape[1:-1]
        # From here on tokens are (B, F, N, width) and signals (B, F or 1, 1, width).
        clock = clocks(clock, len(x), grid[0])
        signal = F.silu(self.conditioner(self.clock(clock), context))[:, :, None]
        positions = rotary(grid, self.head, x.device)
        exists = None if mask is None else _tokens(mask, self.patch)
        tokens = self.inward(patches).to(x.dtype).reshape(len(x), grid[0], -1, self.width)
        if self.absolute:
            tokens = tokens + waves(grid, self.width, x.device).to(x.dtype).view(tokens.shape[1:])
        for block in self.blocks:
            tokens = block(tokens, signal, positions, exists)
        shift, scale = self.modulation(signal).chunk(2, dim=-1)
        patches = self.outward(_modulate(tokens, shift, scale))
        y = crop(join(patches.reshape(len(x), *grid, -1), self.patch), x.shape[2:])
        return y if mask is None else torch.where(mask[:, None], y, 0)


class Block(nn.Module):
    """Attention, then an MLP, each shifted, scaled and gated by a signal (adaLN-zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.attention = Attention(width, heads)
        self.mlp = SwiGLU(width)

    def forward(self, x: Tensor, signal: Tensor, positions: Rotary, mask: Tensor | None) -> Tensor:
        """Map tokens x (B, F, N, W), told the signal (B, F or 1, 1, W); mask is (B, F * N)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(signal).chunk(6, dim=-1)
        h = _modulate(x, shift1, scale1).flatten(1, 2)
        x = x + gate1 * self.attention(h, positions, mask).view_as(x)
        x = x + gate2 * self.mlp(_modulate(x, shift2, scale2))
        return x


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


def _tokens(mask: Tensor, patch: Sequence[int]) -> Tensor:
    """Which tokens (B, L) hold anything that exists."""
    return split(pad(mask[:, None], patch), patch).any(dim=-1).flatten(1)


def _patch(patch: int | Sequence[int], space: int) -> tuple[int, ...]:
    if space not in (1, 2, 3):
        raise InputError(f"a DiT has 1, 2 or 3 spatial dimensions, not {space}")
    lengths = (patch,) * space if isinstance(patch, int) else tuple(patch)
    if len(lengths) != space or min(lengths) < 1:
        raise InputError(f"a patch has {space} lengths of 1 or more, got {patch}")
    return lengths


def _check_mask(mask: Tensor, x: Tensor) -> None:
    if mask.dtype is not torch.bool or mask.shape != (len(x), *x.shape[2:]):
        raise InputError(
            f"a mask is bool of shape {(len(x), *x.shape[2:])}, "
            f"got {str(mask.dtype).removeprefix('torch.')} of shape {tuple(mask.shape)}"
        )
