"""What trajectories with symmetry are compared with: coordinates as plain numbers."""

from __future__ import annotations

__all__ = ["Plain", "Unsymmetric"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sfumato_nn.attention import Attention
from sfumato_nn.embed import ClockEmbedding

from ..trajectories.recipes import Trajectories

HEADS = 4


class _Block(nn.Module):
    """Attention along time, then between points, then one layer for each of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.time, self.space = Attention(width, HEADS), Attention(width, HEADS)
        self.inner = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        items, points, frames, _ = h.shape
        own = self.norms[0](h).flatten(0, 1)
        h = h + self.time(own).unflatten(0, (items, points))
        across = self.norms[1](h).transpose(1, 2).flatten(0, 1)
        h = h + self.space(across).unflatten(0, (items, frames)).transpose(1, 2)
        out: Tensor = h + self.inner(self.norms[2](h))
        return out


class Plain(nn.Module):
    """A transformer on places from the middle of the last given frame, or of all where none is.

    It moves with the points, but does not turn with them.

    Args:
        kinds: numbers that are known of each point.
        dims: 2 or 3.
        frames: given and to come.
        width: channels.
        depth: blocks.
    """

    def __init__(self, kinds: int, dims: int, frames: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(dims + kinds, width)
        self.when = nn.Parameter(0.02 * torch.ones(frames, width))
        self.clock = ClockEmbedding(width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.last = nn.Linear(width, dims)

    def encode(self, source: Any) -> dict[str, Tensor]:
        """The context that `forward` takes."""
        return {"past": source["past"], "kind": source["kind"]}

    def forward(self, x: Tensor, clock: Tensor, past: Tensor, kind: Tensor) -> Tensor:
        """(B, N, T, D) for the frames x (B, N, T, D) after those of `past`."""
        ends = past[:, :, -1:] if past.shape[2] else x
        every = torch.cat([past.to(x), x], 2) - ends.mean((1, 2), keepdim=True).to(x)
        kinds = kind.to(x)[:, :, None].expand(-1, -1, every.shape[2], -1)
        told = self.clock(clock)[:, None, None]
        h = self.first(torch.cat([every, kinds], -1)) + self.when + told
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.last(h)[:, :, past.shape[2] :]
        return out


class Unsymmetric(Trajectories):
    """The recipe with a transformer of the same width and depth, without symmetry."""

    def network(self, about: Mapping[str, Any]) -> nn.Module:
        given = about["source"]["frames"] if "source" in about else 0
        return Plain(
            len(about["features"]), about["dimensions"], given + about["future"], self.width,
            self.depth,
        )  # fmt: skip
