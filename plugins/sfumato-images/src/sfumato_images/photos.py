"""Patches of photographs: many small images from a few large ones, split without overlap."""

from __future__ import annotations

__all__ = ["read"]

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato import InputError

from .data import Images, images
from .files import SUFFIXES, decode, header

REGION = 4
"""A region is about so many patches a side."""

MEMORY = 1 << 31
"""Photographs of at most this many bytes, decoded, are held in memory; more are refused."""


class _Patch(NamedTuple):
    photo: int
    top: int
    left: int


def read(path: Path, patch: int, stride: int | None = None, channels: int | None = None) -> Images:
    """All patches of photographs, float32 (C, patch, patch) in [-1, 1].

    Each photograph is divided into regions of about 4 x 4 patches. A patch lies within one region,
    and regions have no pixel in common; the region is the key of a patch, so that a split never has
    pixels on both sides.

    Args:
        path: a photograph, or a folder of them at any depth.
        patch: pixels a side.
        stride: pixels between neighbours; None: half a patch.
        channels: 1 for grey, 3 for colour, 4 with alpha; None: 1 if all are grey, else 3.

    Raises:
        InputError: if there is none, one cannot be read or is smaller than a patch, or all are more
            than fits in memory.
    """
    stride = max(1, patch // 2) if stride is None else stride
    if patch < 1 or stride < 1:
        raise InputError(f"patch={patch} and stride={stride} are numbers of pixels, at least 1")
    if channels not in (None, 1, 3, 4):
        raise InputError(f"channels={channels}: accepted are 1 (grey), 3 (colour), 4 (with alpha)")
    root = path if path.is_dir() else path.parent
    files = _files(path)
    if not files:
        raise InputError(f"there is no photograph ({', '.join(SUFFIXES)}) at {path}")
    headers = [header(file) for file in files]
    depth = channels or (1 if all(found.grey for found in headers) else 3)
    for file, found in zip(files, headers, strict=True):
        if min(found.size) < patch:
            raise InputError(
                f"{file} is {found.size[0]} x {found.size[1]} (height x width), smaller than a "
                f"patch of {patch}"
            )
    total = sum(depth * found.size[0] * found.size[1] for found in headers)
    if total > MEMORY:
        raise InputError(f"the photographs at {path} take {total} bytes; at most {MEMORY} are read")
    photos = [_levels(file, depth) for file in files]
    where: list[_Patch] = []
    keys: list[str] = []
    for number, (file, photo) in enumerate(zip(files, photos, strict=True)):
        name = file.relative_to(root).as_posix()
        for region, top, left in _places(photo.shape[1], photo.shape[2], patch, stride):
            where.append(_Patch(number, top, left))
            keys.append(f"{name}:{region}")

    def pick(index: Sequence[int]) -> Tensor:
        each = [where[i] for i in index]
        cut = [photos[p.photo][:, p.top : p.top + patch, p.left : p.left + patch] for p in each]
        return torch.stack(cut).float() / 127.5 - 1

    return images(len(where), pick, None, keys)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    shown = (p for p in found if not any(part[0] == "." for part in p.relative_to(path).parts))
    return sorted(shown, key=lambda p: p.relative_to(path).parts)


def _levels(file: Path, channels: int) -> Tensor:
    """The pixels in 8 bits, which is a quarter of what float32 takes."""
    return ((decode(file, channels) + 1) * 127.5).round().to(torch.uint8)


def _places(height: int, width: int, patch: int, stride: int) -> Iterator[tuple[str, int, int]]:
    """(region, top, left) of every patch."""
    for row, (top, bottom) in enumerate(_regions(height, patch)):
        for column, (left, right) in enumerate(_regions(width, patch)):
            for y in range(top, bottom - patch + 1, stride):
                for x in range(left, right - patch + 1, stride):
                    yield f"{row},{column}", y, x


def _regions(length: int, patch: int) -> list[tuple[int, int]]:
    """A side in parts of about `REGION` patches, none smaller than that unless the side is."""
    count = max(1, length // (REGION * patch))
    return [(length * i // count, length * (i + 1) // count) for i in range(count)]
