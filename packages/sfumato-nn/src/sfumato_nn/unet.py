"""A U-Net for tensors with one, two or three spatial dimensions of any size."""

from __future__ import annotations

__all__ = ["UNet"]

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError

from .attention import Attention
from .embed import ClockEmbedding, Condition, Conditioner
from .layers import convolution, group_norm, modulated, zeroed
from .shapes import check_state, clocks


class UNet(nn.Module):
    """Residual convolutions at falling and rising resolutions, joined level by level.

    Level i has ``widths[i]`` channels and half the resolution of the level above, rounded up;
    the way up returns to the very size of the way down, so any spatial size fits. Each block is
    told the clock and the context by a scale and a shift after its second norm. The last
    convolution of each block, attention and of the net starts at zero: the output at first is 0.

    Ho et al., 2020, arXiv:2006.11239; scale and shift: Dhariwal & Nichol, 2021, arXiv:2105.05233.

    Args:
        channels: channels of the input.
        out: channels of the output; as the input unless told.
        space: spatial dimensions, 1, 2 or 3.
        widths: channels per level, finest first.
        blocks: residual blocks per level, on the way down and again on the way up.
        attention: levels (0 is the finest) whose blocks are each followed by self-attention.
        head: channels per attention head.
        classes: number of classes of the condition ``label``; 0 for none.
        vector: length of the condition ``vector``; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        *,
        out: int | None = None,
        space: int = 2,
        widths: Sequence[int] = (64, 128),
        blocks: int = 2,
        attention: Sequence[int] = (),
        head: int = 64,
        classes: int = 0,
        vector: int = 0,
    ) -> None:
        super().__init__()
        _check(space, widths, blocks, attention)
        self.channels, self.space = channels, space
        width = 4 * widths[0]
        self.clock = ClockEmbedding(width)
        self.conditioner = Conditioner(width, classes, vector)
        self.inward = convolution(space, channels, widths[0])

        def level(index: int, before: int) -> Level:
            heads = max(1, widths[index] // head) if index in attention else 0
            inputs = [before] + [widths[index]] * (blocks - 1)
            return Level(Block(space, i, widths[index], width, heads) for i in inputs)

        above = [widths[0], *widths[:-1]]
        self.down = nn.ModuleList(level(i, above[i]) for i in range(len(widths)))
        self.shrink = nn.ModuleList(convolution(space, w, w, stride=2) for w in widths[:-1])
        rising = reversed(range(len(widths) - 1))
        self.up = nn.ModuleList(level(i, widths[i + 1] + widths[i]) for i in rising)
        self.norm = group_norm(widths[0])
        self.outward = zeroed(convolution(space, widths[0], out or channels))

    def encode(self, **condition: Condition) -> dict[str, Tensor]:
        """The ``context`` that `forward` takes; see `Conditioner.encode`."""
        return {"context": self.conditioner.encode(**condition)} if condition else {}

    def forward(self, x: Tensor, clock: Tensor, context: Tensor | None = None) -> Tensor:
        """Map x (B, channels, *space) to (B, out, *space).

        Args:
            x: the state, scaled to roughly unit variance.
            clock: () or (B,), within [-10, 10].
            context: (B, 4 * widths[0]) from `encode`; unconditional when not given.

        Raises:
            InputError: for any other shape.
        """
        check_state(x, self.channels, self.space)
        clock = clocks(clock, len(x))[:, 0]
        signal = F.silu(self.conditioner(self.clock(clock), context))
        x = self.inward(x)
        skips = []
        for i, level in enumerate(self.down):
            if i:
                skips.append(x)
                x = self.shrink[i - 1](x)
            x = level(x, signal)
        for level in self.up:
            skip = skips.pop()
            x = torch.cat((F.interpolate(x, size=skip.shape[2:]), skip), dim=1)
            x = level(x, signal)
        y: Tensor = self.outward(F.silu(self.norm(x)))
        return y


class Level(nn.ModuleList):
    """The blocks of one resolution, one after the other."""

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """Map x (B, before, *space), told the signal (B, S), to (B, after, *space)."""
        for block in self:
            x = block(x, signal)
        return x


class Block(nn.Module):
    """A residual block told a signal by scale and shift, then self-attention if it has heads."""

    def __init__(self, space: int, before: int, after: int, signal: int, heads: int) -> None:
        super().__init__()
        self.norm1 = group_norm(before)
        self.conv1 = convolution(space, before, after)
        self.modulation = nn.Linear(signal, 2 * after)
        self.norm2 = group_norm(after)
        self.conv2 = zeroed(convolution(space, after, after))
        self.skip = convolution(space, before, after, 1) if before != after else nn.Identity()
        self.norm3 = group_norm(after) if heads else None
        self.attention = Attention(after, heads, zero=True) if heads else None

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """Map x (B, before, *space), told the signal (B, S), to (B, after, *space)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(signal).chunk(2, dim=1)
        h = F.silu(modulated(self.norm2, h, 1 + scale, shift))
        x = self.skip(x) + self.conv2(h)
        if self.attention is None or self.norm3 is None:
            return x
        mixed: Tensor = self.attention(self.norm3(x).flatten(2).mT)
        return x + mixed.mT.reshape(x.shape)


def _check(space: int, widths: Sequence[int], blocks: int, attention: Sequence[int]) -> None:
    if space not in (1, 2, 3):
        raise InputError(f"a U-Net has 1, 2 or 3 spatial dimensions, not {space}")
    if not widths or min(widths) < 1 or blocks < 1:
        raise InputError(
            f"a U-Net needs at least one level, width and block, got widths {tuple(widths)} "
            f"and {blocks} blocks"
        )
    for index in attention:
        if index not in range(len(widths)):
            raise InputError(
                f"attention at level {index}, but the levels are 0 to {len(widths) - 1}"
            )
