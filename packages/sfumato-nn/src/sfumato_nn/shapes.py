"""Shapes that all networks share: what they accept, patches, and the clock of each item."""

from __future__ import annotations

__all__ = ["check_state", "clocks", "crop", "join", "pad", "split"]

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError


def check_state(x: Tensor, channels: int, space: int) -> None:
    """Raise InputError unless x is (B, channels, *space) with at least one position."""
    if x.ndim != space + 2 or x.shape[1] != channels or not math.prod(x.shape[2:]):
        raise InputError(
            f"this network takes (B, {channels}, ...) with {space} non-empty spatial dimensions, "
            f"got {tuple(x.shape)}"
        )


def clocks(clock: Tensor, items: int, frames: int | None = None) -> Tensor:
    """A clock for each item: (items, 1), or (items, frames) where each frame has its own.

    Args:
        clock: (), (items,), or (items, frames) when the network knows frames.
        items: the batch size.
        frames: how many frames the network sees; None when it has one clock per item.

    Raises:
        InputError: for any other shape.
    """
    if clock.ndim == 0:
        return clock.expand(items, 1)
    if clock.shape == (items,):
        return clock[:, None]
    if frames is not None and clock.shape == (items, frames):
        return clock
    per_frame = (
        "; a U-Net has no clock per frame, use a DiT"
        if frames is None
        else f" or ({items}, {frames})"
    )
    raise InputError(f"a clock has the shape () or ({items},){per_frame}, got {tuple(clock.shape)}")


def pad(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Zeros at the end of each spatial axis of x (B, C, *space) up to a multiple of ``patch``."""
    lack = [-size % p for size, p in zip(x.shape[2:], patch, strict=True)]
    if not any(lack):
        return x
    return F.pad(x, [side for end in reversed(lack) for side in (0, end)])


def crop(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The first ``sizes`` places along the spatial axes of x (B, C, *space); undoes `pad`."""
    for axis, size in enumerate(sizes, start=2):
        x = x.narrow(axis, 0, size)
    return x


def split(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Cut x (B, C, *space) into patches (B, *grid, C * prod(patch)), grid = space / patch."""
    space = len(patch)
    sizes = [n for size, p in zip(x.shape[2:], patch, strict=True) for n in (size // p, p)]
    grid = [2 + 2 * axis for axis in range(space)]
    inner = [3 + 2 * axis for axis in range(space)]
    return x.reshape(*x.shape[:2], *sizes).permute(0, *grid, 1, *inner).flatten(space + 1)


def join(tokens: Tensor, patch: Sequence[int]) -> Tensor:
    """The inverse of `split`: (B, *grid, C * prod(patch)) becomes (B, C, *space)."""
    space = len(patch)
    x = tokens.reshape(*tokens.shape[:-1], -1, *patch)
    order = [n for axis in range(space) for n in (1 + axis, space + 2 + axis)]
    x = x.permute(0, space + 1, *order)
    sizes = [n * p for n, p in zip(tokens.shape[1:-1], patch, strict=True)]
    return x.reshape(*x.shape[:2], *sizes)
