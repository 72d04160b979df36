"""Self-attention with normalised queries and keys."""

from __future__ import annotations

__all__ = ["Attention", "attend"]

import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import InputError

from .layers import zeroed
from .positions import Rotary, rotate


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(D)) v, over keys where ``mask`` is true.

    Torch's fused kernels have neither second derivatives nor forward mode: whoever needs those
    calls the network inside ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.

    Args:
        q: queries (B, H, L, D).
        k: keys (B, H, M, D).
        v: values (B, H, M, E).
        mask: bool, true where a key may be read: (B, M) by all queries of an item, or (B, L, M) by
            each; a query without any key gives zeros.

    Returns:
        (B, H, L, E) in the dtype of ``v``.
    """
    keys = mask if mask is None else mask[:, None] if mask.ndim == 3 else mask[:, None, None]
    return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=keys)


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
        self, x: Tensor, positions: Rotary | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Mix tokens x (B, L, W); ``mask`` (B, L) bool says which tokens may be read."""
        mixed = attend(*self.project(x, positions), mask)
        y: Tensor = self.outward(mixed.transpose(1, 2).flatten(-2))
        return y

    def project(self, x: Tensor, positions: Rotary | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, L, D) of the tokens x (B, L, W)."""
        q, k, v = self.inward(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.norm_q(q), self.norm_k(k)
        if positions is not None:
            q, k = rotate(q, positions), rotate(k, positions)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
