"""Self-attention with normalised queries and keys, and rotary positions in any dimension."""

from __future__ import annotations

__all__ = ["Attention", "Rotary", "attend", "rotary_positions", "rotate"]

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError

from .layers import zeroed

Rotary = tuple[Tensor, Tensor]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(D)) v, over keys where ``mask`` is true.

    Args:
        q: queries (B, H, L, D).
        k: keys (B, H, M, D).
        v: values (B, H, M, E).
        mask: (B, M) bool, true where a key exists; an item without any key gives zeros.

    Returns:
        (B, H, L, E) in the dtype of ``v``.
    """
    keys = None if mask is None else mask[:, None, None, :]
    return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=keys)


def rotary_positions(sizes: Sequence[int], dim: int, device: torch.device | None = None) -> Rotary:
    """Cosines and sines that turn a head by its position on a grid of any size.

    The dim / 2 planes of a head are shared out among the axes; plane i of an axis turns by
    position * base^(-i / planes). Planes left over do not turn. The base is 10000 in 1-D, as
    for text, and its square and cube root in 2-D and 3-D, where axes are shorter.

    Su et al., "RoFormer", 2021, arXiv:2104.09864; on grids: Heo et al., 2024, arXiv:2403.13298.

    Returns:
        Two float32 tensors (L, dim) with L the product of ``sizes``, the last axis fastest.
    """
    planes = dim // 2 // len(sizes)
    base = math.log(10_000.0) / len(sizes)
    speed = torch.exp(
        torch.arange(planes, device=device, dtype=torch.float32) * (-base / max(planes, 1))
    )
    axes = [torch.arange(size, device=device, dtype=torch.float32) for size in sizes]
    where = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    angle = (where[..., None] * speed).flatten(-2)
    angle = F.pad(angle, (0, dim // 2 - angle.shape[-1]))
    return angle.cos().repeat(1, 2), torch.cat((-angle.sin(), angle.sin()), dim=-1)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn the planes (i, i + D / 2) of x (..., L, H, D) by the angles of each position."""
    cos, sin = rotary
    return x * cos[:, None] + x.roll(x.shape[-1] // 2, dims=-1) * sin[:, None]


class Attention(nn.Module):
    """Multi-head self-attention whose logits are bounded.

    Queries and keys are normalised per head before a learned gain, so that a logit is at most
    sqrt(D) max|gain_q| max|gain_k|: large nets do not saturate and low precision holds.
    Layer norm rather than RMS norm, because it is one fused kernel on CPU too.

    Henry et al., 2020, arXiv:2010.04245; Dehghani et al., 2023, arXiv:2302.05442.

    Args:
        width: channels per token.
        heads: number of heads; width / heads is even.
        zero: start with zero output, for a branch that nothing else gates.
    """

    def __init__(self, width: int, heads: int, *, zero: bool = False) -> None:
        super().__init__()
        if heads < 1 or width % heads or (width // heads) % 2:
            raise InputError(f"width {width} does not split into {heads} heads of an even size")
        self.heads = heads
        self.inward = nn.Linear(width, 3 * width)
        self.norm_q = nn.LayerNorm(width // heads, bias=False)
        self.norm_k = nn.LayerNorm(width // heads, bias=False)
        outward = nn.Linear(width, width)
        self.outward = zeroed(outward) if zero else outward

    def forward(
        self, x: Tensor, rotary: Rotary | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Mix tokens x (B, L, W); ``mask`` (B, L) bool says which tokens may be read."""
        mixed = attend(*self.project(x, rotary), mask)
        y: Tensor = self.outward(mixed.transpose(1, 2).flatten(-2))
        return y

    def project(self, x: Tensor, rotary: Rotary | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, L, D) of the tokens x (B, L, W)."""
        q, k, v = self.inward(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.norm_q(q), self.norm_k(k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
