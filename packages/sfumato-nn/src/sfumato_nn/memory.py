"""Who reads whom: padding, documents, levels, and tokens whose keys and values are remembered."""

from __future__ import annotations

__all__ = ["Memory", "beside", "reads"]

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError


class Memory(NamedTuple):
    """Keys and values of tokens that stay as they are, layer by layer (KV cache); a value.

    Attributes:
        keys: of each block (B, H, M, D), turned by their places.
        values: of each block (B, H, M, D).
        start: place of the first of the tokens that are still to come.
        mask: which of these M tokens, and of the l of the block behind them, a token of the block
            reads: bool (B, M), (B, M + l) or (B, l, M + l); None: all.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    start: int
    mask: Tensor | None = None


def reads(
    real: Tensor | None = None, document: Tensor | None = None, level: Tensor | None = None
) -> Tensor | None:
    """Which tokens a token reads, bool (B, M) or (B, L, M); None: all.

    Args:
        real: (B, L) bool, what is no padding.
        document: (B, L): see `TokenTransformer.forward`, as `level`.
        level: (B, L).
    """
    mask = real if document is None and level is None else None
    if document is not None:
        mask = (document[:, :, None] == document[:, None]) & (document >= 0)[:, None]
    if level is not None:
        lower = level[:, None] <= level[:, :, None]
        mask = lower if mask is None else mask & lower
    if mask is not None and mask.ndim == 3 and real is not None:
        mask = mask & real[:, None]
    return mask


def beside(memory: Memory, own: Tensor | None, length: int) -> Tensor | None:
    """What `length` tokens behind a memory read, of it and of themselves, as `reads`.

    Args:
        memory: what they stand behind.
        own: (B, l) or (B, l, l) bool, what they read of themselves; None: all.
        length: l.

    Raises:
        InputError: if the memory says already what they read of themselves.
    """
    past, count = memory.mask, memory.keys[0].shape[2]
    if past is not None and past.shape[-1] != count:
        if own is not None:
            raise InputError("the memory of a block goes without levels and padding")
        return past
    if own is None:
        return None if past is None else F.pad(past, (0, length), value=True)
    if past is None:
        past = own.new_ones(len(own), count)
    past = past if own.ndim == 2 else past[:, None].expand(-1, length, -1)
    return torch.cat((past, own), -1)
