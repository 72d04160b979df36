"""What equivariant trajectories are compared with: a transformer that knows no symmetry."""

from __future__ import annotations

__all__ = ["FlatTransformer"]

import torch
from torch import Tensor, nn

from sfumato_nn.embed import ClockEmbedding
from sfumato_nn.layers import zeroed


class FlatTransformer(nn.Module):
    """A transformer over all frames of all points, each a token with its coordinates.

    Args:
        frames: known and asked for.
        width: channels.
        depth: blocks.
    """

    def __init__(self, frames: int, width: int, depth: int) -> None:
        super().__init__()
        self.clock = ClockEmbedding(width)
        self.inward = nn.Linear(5, width)
        self.frame = nn.Parameter(torch.empty(frames, 1, width))
        nn.init.normal_(self.frame, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.outward = zeroed(nn.Linear(width, 3))

    def encode(self, past: Tensor, charge: Tensor) -> dict[str, Tensor]:
        """The context: known frames (B, G, P, 3) and charges (B, P)."""
        return {"past": past, "charge": charge}

    def forward(self, y: Tensor, clock: Tensor, past: Tensor, charge: Tensor) -> Tensor:
        """Displacements (B, F, P, 3), to an answer of that shape."""
        past = past - past[:, -1:].mean(2, keepdim=True)
        x = torch.cat((past, past[:, -1:] + y), 1)
        items, frames, points = x.shape[:3]
        known = (torch.arange(frames, device=x.device) < past.shape[1]).to(x)
        told = torch.stack(
            (
                charge[:, None].expand(-1, frames, -1),
                known[:, None].expand(items, -1, points),
            ),
            -1,
        )
        h = self.inward(torch.cat((x, told), -1)) + self.frame + self.clock(clock)[:, None, None]
        h = self.blocks(h.flatten(1, 2)).view(items, frames, points, -1)
        answer: Tensor = self.outward(h[:, past.shape[1] :])
        return answer
