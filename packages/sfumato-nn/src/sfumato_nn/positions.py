"""Where a token stands on a grid of one, two or three dimensions of any size."""

from __future__ import annotations

__all__ = ["Rotary", "rotary", "rotate", "waves"]

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Rotary = tuple[Tensor, Tensor]


def waves(sizes: Sequence[int], dim: int, device: torch.device | None = None) -> Tensor:
    """Cosines and sines of each place, float32 (L, dim): fixed positions to add to tokens.

    L is the product of ``sizes``, the last axis fastest. The dim / 2 frequencies are shared out
    among the axes as in `rotary`. Vaswani et al., 2017, arXiv:1706.03762.
    """
    angle = _angles(sizes, dim // 2, device)
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def rotary(sizes: Sequence[int], dim: int, device: torch.device | None = None) -> Rotary:
    """Cosines and signed sines, float32 (L, dim) each, that `rotate` a head by its place.

    The dim / 2 planes of a head are shared out among the axes; plane i of an axis turns by
    place * base^(-i / planes). Planes left over do not turn. The base is 10000 in 1-D, as for
    text, and its square and cube root in 2-D and 3-D, where axes are shorter.

    Su et al., "RoFormer", 2021, arXiv:2104.09864; on grids: Heo et al., 2024, arXiv:2403.13298.
    """
    angle = _angles(sizes, dim // 2, device)
    return angle.cos().repeat(1, 2), torch.cat((-angle.sin(), angle.sin()), dim=-1)


def rotate(x: Tensor, positions: Rotary) -> Tensor:
    """Turn the planes (i, i + D / 2) of x (..., L, H, D) by the angles of each place."""
    cos, sin = positions
    return x * cos[:, None] + x.roll(x.shape[-1] // 2, dims=-1) * sin[:, None]


def _angles(sizes: Sequence[int], planes: int, device: torch.device | None) -> Tensor:
    """Angles (L, planes) of every place."""
    each = planes // len(sizes)
    base = math.log(10_000.0) / len(sizes)
    speed = torch.exp(
        torch.arange(each, device=device, dtype=torch.float32) * (-base / max(each, 1))
    )
    axes = [torch.arange(size, device=device, dtype=torch.float32) for size in sizes]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    angle = (place[..., None] * speed).flatten(-2)
    return F.pad(angle, (0, planes - angle.shape[-1]))
