"""Tokens that look at a picture: a small vision transformer, and its patches as a prefix."""

from __future__ import annotations

__all__ = ["PictureEncoder", "PicturedTokens"]

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Padded
from sfumato.errors import InputError

from .layers import convolution, group_norm
from .memory import Memory
from .positions import rotary, waves
from .tokens import Block, TokenTransformer

_VIEWS = 5


class PictureEncoder(nn.Module):
    """Pictures (B, C, H, W) to vectors (B, P, width): patches, and blocks in which all see all.

    Dosovitskiy et al. 2021, arXiv:2010.11929, with a stem of convolutions that halve the picture
    until a pixel is a patch, which learns much faster (Xiao et al. 2021, arXiv:2106.14881). With
    `crops` a picture is looked at five times, as a whole at half its resolution and in its four
    quarters, each for itself; with `pool` the vectors of each square of so many patches a side are
    averaged, which is fewer to read (both as in Li et al. 2025, arXiv:2505.16839, section 3.1).

    Args:
        channels: C.
        size: (H, W).
        patch: pixels of a patch a side, a power of two.
        width: channels per vector.
        depth: number of blocks.
        heads: attention heads.
        pool: patches a side that become one vector.
        crops: see above.

    Raises:
        InputError: if patches, pools and crops do not divide the size, or the patch is no power.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        *,
        patch: int = 4,
        width: int = 128,
        depth: int = 2,
        heads: int = 4,
        pool: int = 1,
        crops: bool = False,
    ) -> None:
        super().__init__()
        unit = patch * pool * (2 if crops else 1)
        if any(side < 1 or side % unit for side in size):
            raise InputError(
                f"a picture of {size[0]} x {size[1]} is not cut evenly by patch={patch}, "
                f"pool={pool}{' and crops' if crops else ''}: both sides are multiples of {unit}"
            )
        if patch & (patch - 1):
            raise InputError(f"patch={patch}: accepted are powers of two")
        self.size, self.pool, self.crops = (channels, *size), pool, crops
        side = [s // (2 if crops else 1) // patch for s in size]
        self.grid, self.head, self.width = side, width // heads, width
        self.inward = _stem(channels, width, patch.bit_length() - 1)
        self.view = nn.Parameter(torch.zeros(_VIEWS if crops else 1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)

    @property
    def count(self) -> int:
        """P, vectors of a picture."""
        return len(self.view) * (self.grid[0] // self.pool) * (self.grid[1] // self.pool)

    def forward(self, x: Tensor) -> Tensor:
        """The vectors (B, P, width) of pictures (B, C, H, W), view by view and row by row.

        Raises:
            InputError: for pictures of another size.
        """
        if x.shape[1:] != self.size:
            raise InputError(
                f"pictures of shape {tuple(x.shape)} were given to an encoder of (B, "
                f"{', '.join(map(str, self.size))})"
            )
        views = _views(x) if self.crops else x[:, None]
        h = self.inward(views.flatten(0, 1)).flatten(2).mT  # (B V, P, width)
        h = h + waves(self.grid, self.width, x.device).to(h)
        positions = rotary(self.grid, self.head, x.device)
        for block in self.blocks:
            h, _ = block(h, None, positions, None, None)
        h = self.norm(h)
        if self.pool > 1:
            h = F.avg_pool2d(h.mT.unflatten(2, self.grid), self.pool).flatten(2).mT
        each: Tensor = h.unflatten(0, (len(x), len(self.view))) + self.view
        return each.flatten(1, 2)


def _stem(channels: int, width: int, halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for left in reversed(range(halvings)):
        wide = max(8, width >> left)
        layers += [convolution(2, channels, wide, stride=2), group_norm(wide), nn.SiLU()]
        channels = wide
    return nn.Sequential(*layers, convolution(2, channels, width, size=1))


def _views(x: Tensor) -> Tensor:
    """(B, 5, C, H/2, W/2): the whole, then the quarters row by row."""
    half = F.avg_pool2d(x, 2)
    quarters = [part for row in x.chunk(2, 2) for part in row.chunk(2, 3)]
    return torch.stack((half, *quarters), 1)


class PicturedTokens(nn.Module):
    """A `TokenTransformer` whose tokens read a picture that stands before them.

    The vectors of the picture read each other alone, so that their keys and values are made once
    for all calls of a sampler, exactly (Li et al. 2025, arXiv:2505.16839, section 3.3).

    Args:
        tokens: the network of the text, without a clock.
        encoder: of the pictures.
    """

    def __init__(self, tokens: TokenTransformer, encoder: PictureEncoder) -> None:
        super().__init__()
        self.tokens, self.encoder = tokens, encoder
        width = tokens.table.embedding_dim
        self.project = nn.Sequential(
            nn.Linear(encoder.width, width), nn.GELU(), nn.Linear(width, width)
        )

    def encode(
        self, *, picture: Tensor, copies: int = 1, at: Tensor | None = None
    ) -> dict[str, Any]:
        """The context of `forward`: what is remembered of pictures (B, C, H, W).

        Args:
            picture: in [-1, 1].
            copies: rows of text for each picture: copies B of them, the pictures gone through so
                many times; encoded is each once.
            at: see `TokenTransformer.forward`.
        """
        memory = self.tokens.prefill(self.project(self.encoder(picture)))
        if copies > 1:
            keys, values = (
                tuple(v.repeat(copies, 1, 1, 1) for v in part)
                for part in (memory.keys, memory.values)
            )
            memory = Memory(keys, values, memory.start)
        return {"memory": memory} | ({} if at is None else {"at": at})

    def forward(
        self, x: Tensor | Padded, clock: Tensor, *, memory: Memory | None = None, **context: Any
    ) -> Any:
        """Logits of ids: see `TokenTransformer.forward`.

        Raises:
            InputError: if there is no picture.
        """
        if memory is None:
            raise InputError("this network reads a picture, and none was given")
        return self.tokens(x, clock, memory=memory, **context)
