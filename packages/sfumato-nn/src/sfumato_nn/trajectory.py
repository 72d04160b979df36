"""A network on moving points whose output turns, mirrors and moves with them.

Trajectories are (B, N, F, D): N points in D dimensions over F frames.
"""

from __future__ import annotations

__all__ = ["Recall", "TrajectoryNetwork", "last"]

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import InputError

from .attention import attend
from .embed import ClockEmbedding
from .layers import zeroed

FREQUENCIES = 8
"""Of the distance in time of two frames."""

PERIODS = (2.0, 128.0)
"""The shortest and the longest period, in frames."""


class TrajectoryNetwork(nn.Module):
    """The equivariant geometric trajectory network of Han et al. 2024, arXiv:2410.13027.

    Layers alternate between space and time. In each frame, every point hears of every other:
    h_i += phi_h(h_i, sum_j m_ij) and x_i += mean_j (x_i - x_j)/(d_ij + 1) phi_x(m_ij), with
    m_ij = phi_m(h_i, h_j, d_ij^2). Along time, each point attends to all frames of its own: with
    a_ts = softmax_s(q_t . k_s + q'_t . psi(t - s)) and sinusoids psi of the distance in time,
    h_t += sum_s a_ts v_s and x_t += sum_s a_ts phi_x(v_s) (x_t - x_s). Frames that are given stand
    before those that are asked for. A fresh network moves nothing.

    Args:
        kinds: numbers that are known of each point (charge, element), at least 1.
        width: channels.
        depth: pairs of layers.
        heads: of the attention along time; they divide the width.
        clocked: whether the frames to come are noisy, at a level that the network is told.
    """

    def __init__(
        self, kinds: int, *, width: int = 32, depth: int = 4, heads: int = 4, clocked: bool = True
    ) -> None:
        super().__init__()
        if kinds < 1 or width % heads:
            raise InputError(
                f"a network of trajectories takes kinds >= 1 and a width that its heads divide, "
                f"not kinds={kinds}, width={width}, heads={heads}"
            )
        self.kinds = kinds
        self.kind = nn.Linear(kinds, width)
        self.noisy = nn.Parameter(torch.zeros(width)) if clocked else None
        self.clock = ClockEmbedding(width) if clocked else None
        self.layers = nn.ModuleList(
            layer for _ in range(depth) for layer in (_Space(width), _Time(width, heads))
        )

    def encode(self, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The context that `forward` takes.

        Args:
            source: `past` (B, N, P, D), the frames that are given, and `kind` (B, N, kinds).
        """
        return {"past": source["past"], "kind": source["kind"]}

    def forward(self, x: Tensor, clock: Tensor, past: Tensor, kind: Tensor) -> Tensor:
        """Displacements (B, N, T, D) of the frames x (B, N, T, D) after those of `past`."""
        assert self.clock is not None and self.noisy is not None
        given = past.shape[2]
        every = torch.cat([past.to(x), x], 2)
        every = every - every.mean((1, 2), keepdim=True)  # far from 0 digits would be lost
        signal = (self.clock(clock) + self.noisy)[:, None, None]
        told = F.pad(signal.expand(-1, -1, x.shape[2], -1), (0, 0, given, 0))
        moved, _ = self.both(every, kind.to(x), told)
        return (moved - every)[:, :, given:]

    def both(self, x: Tensor, kind: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Where all frames go, (B, N, F, D), and what is said of them, (B, N, F, W)."""
        if kind.shape[-1] != self.kinds:
            raise InputError(
                f"this network knows {self.kinds} numbers of a point, but got {kind.shape[-1]}"
            )
        h = self.kind(kind)[:, :, None].expand(-1, -1, x.shape[2], -1)
        h = h if told is None else h + told
        for layer in self.layers:
            x, h = layer(x, h)
        return x, h


class _Space(nn.Module):
    """One round of messages between the points of each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ends = nn.Linear(width, 2 * width)
        self.far = nn.Linear(1, width, bias=False)
        self.message = nn.Linear(width, width)
        self.moves = zeroed(nn.Linear(width, 1))
        self.node = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), zeroed(nn.Linear(width, width))
        )

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.norm(h)
        to, by = self.ends(a).transpose(1, 2).chunk(2, -1)  # (B, F, N, W)
        places = x.transpose(1, 2)
        gap = places[:, :, :, None] - places[:, :, None]  # (B, F, N, N, D)
        square = gap.square().sum(-1, keepdim=True)
        m = F.silu(self.message(F.silu(to[:, :, :, None] + by[:, :, None] + self.far(square))))
        count = x.shape[1]
        others = 1 - torch.eye(count, dtype=m.dtype, device=m.device)[..., None]
        share = 1 / max(count - 1, 1)
        moves = self.moves(m) / (_root(square) + 1)  # a point is at no distance of itself
        x = x + ((gap * moves).sum(3) * share).transpose(1, 2)
        heard = ((m * others).sum(3) * share).transpose(1, 2)
        return x, h + self.node(torch.cat([a, heard], -1))


def _root(square: Tensor) -> Tensor:
    """The root, with gradient 0 at 0."""
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


class _Time(nn.Module):
    """Attention of each point to all its frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.when = nn.Linear(width, heads * 2 * FREQUENCIES)
        self.moves = zeroed(nn.Linear(width // heads, 1))
        self.outward = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        items, points, frames, dims = x.shape
        cos, sin = _sinusoids(frames, x)

        def split(y: Tensor) -> Tensor:  # (B N, H, F, C)
            return y.reshape(items * points, frames, self.heads, -1).transpose(1, 2)

        a = self.norm(h)
        q, k, v = (split(y) for y in self.inward(a).chunk(3, -1))
        # q' . psi(t - s), psi = (sin, cos), as a product of what depends on t and on s
        odd, even = split(self.when(a)).chunk(2, -1)
        q = torch.cat([q, odd * sin + even * cos, even * sin - odd * cos], -1)
        s = torch.cat([cos, sin], -1).expand(*k.shape[:2], -1, -1)
        move = self.moves(F.silu(v))
        places = x.reshape(items * points, 1, frames, dims)
        found = attend(q, torch.cat([k, s], -1), torch.cat([v, move, move * places], -1))
        heard, pull, pulled = torch.split(found, [v.shape[-1], 1, dims], -1)
        step = (places * pull - pulled).mean(1)
        said = self.outward(heard.transpose(1, 2).reshape(h.shape))
        return x + step.reshape(x.shape), h + said


def _sinusoids(frames: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """(F, R) cosines and sines of the time of each frame."""
    low, high = (2 * math.pi / period for period in reversed(PERIODS))
    speed = torch.logspace(
        math.log10(low), math.log10(high), FREQUENCIES, dtype=torch.float64, device=like.device
    )
    angle = torch.arange(frames, dtype=torch.float64, device=like.device)[:, None] * speed
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class Recall(nn.Module):
    """The learned reference of GeoTDM: each frame to come is a mean of the given ones, moved.

    x_r(s) = sum_p w_ps y_p with the given frames as an equivariant network moves them, y, and
    w_ps = h_p . gamma_s for all but the last, whose weight makes the sum 1: so that x_r moves with
    the points (Han et al. 2024, arXiv:2410.13027, eq. 11). A fresh one repeats the last frame.

    Args:
        net: a `TrajectoryNetwork` that is not `clocked`.
        future: frames to come.
        width: channels of the network.
    """

    def __init__(self, net: TrajectoryNetwork, future: int, width: int) -> None:
        super().__init__()
        self.net = net
        self.future = future
        self.weigh = zeroed(nn.Linear(width, future))

    def forward(self, source: Mapping[str, Tensor]) -> Tensor:
        """(B, N, future, D)."""
        weight = self.weigh.weight
        past = source["past"].to(weight.dtype)
        moved, h = self.net.both(past, source["kind"].to(weight.dtype))
        early = self.weigh(h[:, :, :-1])  # (B, N, P - 1, future)
        end = moved[:, :, -1:]
        return end + torch.einsum("bnpt,bnpd->bntd", early, moved[:, :, :-1] - end)


def last(past: Tensor, future: int) -> Tensor:
    """The last given frame (B, N, P, D), repeated: (B, N, future, D)."""
    return past[:, :, -1:].expand(-1, -1, future, -1)
