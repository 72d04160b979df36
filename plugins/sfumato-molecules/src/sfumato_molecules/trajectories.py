"""A network on trajectories of points that turns and moves with them."""

from __future__ import annotations

__all__ = ["TrajectoryNetwork"]

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Ragged
from sfumato_nn.embed import ClockEmbedding
from sfumato_nn.equivariant import MessageLayer, pairs
from sfumato_nn.layers import zeroed


class TrajectoryNetwork(nn.Module):
    """An equivariant geometric trajectory network.

    Han et al. 2024, GeoTDM, arXiv:2410.13027: messages among the points of each frame
    take turns with attention of each point over its frames, which moves it by
    sum_s a_ts w_s (x_t - x_s) with attention a that sees t - s. The state are the displacements of
    all points from where they were in the last known frame; known frames are tokens beside, and
    left out of the answer.

    Args:
        frames: known and asked for.
        width: channels.
        depth: pairs of layers.
    """

    def __init__(self, frames: int, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        self.clock = ClockEmbedding(width)
        self.inward = nn.Linear(2, width)
        self.space = nn.ModuleList(MessageLayer(width, 0, False) for _ in range(depth))
        self.time = nn.ModuleList(_Attention(width, frames) for _ in range(depth))

    def encode(self, past: Tensor, charge: Tensor) -> dict[str, Tensor]:
        """The context: known frames (B, G, P, 3) and charges (B, P)."""
        return {"past": past, "charge": charge}

    def forward(self, y: Tensor, clock: Tensor, past: Tensor, charge: Tensor) -> Tensor:
        """Displacements (B, F, P, 3), of about unit variance, to an answer of that shape."""
        past = past - past[:, -1:].mean(2, keepdim=True)
        x = start = torch.cat((past, past[:, -1:] + y), 1)
        items, frames, points = x.shape[:3]
        known = torch.arange(frames, device=x.device) < past.shape[1]
        told = torch.stack(
            (
                charge[:, None].expand(-1, frames, -1),
                known[:, None].to(x).expand(items, -1, points),
            ),
            -1,
        )
        h = self.inward(told)
        owner = torch.arange(items * frames, device=x.device).repeat_interleave(points)
        layout = Ragged(x.reshape(-1, 3), owner, items * frames)
        every = pairs(layout)
        signal = F.silu(self.clock(clock)).repeat_interleave(frames, 0)
        noise = (1 + (-2 * clock.to(x)).exp()).rsqrt()[:, None, None, None]
        answer = torch.zeros_like(x)
        for space, time in zip(self.space, self.time, strict=True):
            flat, step = space(h.flatten(0, 2), x.reshape(-1, 3), signal, every, None, layout)
            h, turn = time(flat.view_as(h), x)
            answer = answer + step.view_as(x) + turn
            x = start + noise * answer * ~known[:, None, None]
        return answer[:, past.shape[1] :]


class _Attention(nn.Module):
    """Attention of each point over its frames."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.apart = nn.Embedding(2 * frames - 1, width)
        self.outward = nn.Linear(width, width)
        self.moves = zeroed(nn.Linear(width, 1))

    def forward(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points h (B, T, P, W) anew, and steps (B, T, P, 3) of points x."""
        q, k, v = self.inward(self.norm(h)).transpose(1, 2).chunk(3, -1)  # (B, P, T, W)
        place = torch.arange(h.shape[1], device=h.device)
        apart = self.apart(place[:, None] - place + h.shape[1] - 1)  # (T, T, W)
        logits = q @ k.transpose(-1, -2) + torch.einsum("bptw,tsw->bpts", q, apart)
        weight = (logits / q.shape[-1] ** 0.5).softmax(-1)
        mixed = weight @ v + torch.einsum("bpts,tsw->bptw", weight, apart)
        push = weight * (self.moves(v).transpose(-1, -2) + self.moves(apart)[..., 0])
        places = x.transpose(1, 2)
        step = places * push.sum(-1, keepdim=True) - push @ places
        return h + self.outward(mixed).transpose(1, 2), step.transpose(1, 2)
