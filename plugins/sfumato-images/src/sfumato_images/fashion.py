"""Pairs of IDX files, as MNIST and Fashion-MNIST come: a training part and a test part.

LeCun, Cortes & Burges, "The MNIST database of handwritten digits", 1998, describe the format: two
zero bytes, the type (8: unsigned byte), the number of dimensions, each as 4 bytes big-endian, data.
"""

from __future__ import annotations

__all__ = ["CLOTHES", "Parts", "holds", "read"]

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato import InputError

from .data import Images, images

CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
"""Of Fashion-MNIST, in the order of their labels (Xiao et al. 2017, arXiv:1708.07747)."""

_PARTS = ("train", "t10k")
_LARGEST = 1 << 30  # bytes of pixels


@dataclass(frozen=True, eq=False)
class Parts(Images):
    """Images of which the last `tested` are the test part."""

    tested: int = 0

    def test_part(self) -> Sequence[int]:
        """The items of the test part."""
        return range(self.count - self.tested, self.count)


def holds(folder: Path) -> bool:
    """Whether a folder holds such pairs."""
    return folder.is_dir() and _place(folder, "train-images-idx3-ubyte") is not None


def read(
    folder: Path, classes: Sequence[str], size: int | None = None, channels: int | None = None
) -> Parts:
    """The images of a folder with the four files of MNIST, float32 (1, H, W) in [-1, 1].

    Args:
        folder: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same of `t10k`,
            each plain or with `.gz`.
        classes: their names in the order of the labels.
        size: what the images must have; they are not resized.
        channels: 1, or None.

    Raises:
        InputError: if a file is missing, damaged or does not go with the others; names it.
    """
    pixels, labels = [], []
    for part in _PARTS:
        x, y = (
            _idx(folder, f"{part}-images-idx3-ubyte", 3),
            _idx(folder, f"{part}-labels-idx1-ubyte", 1),
        )
        if len(x) != len(y):
            raise InputError(f"{folder} has {len(x)} images, but {len(y)} labels in {part}")
        if len(y) and y.max() >= len(classes):
            raise InputError(
                f"{folder} has a label {y.max()} in {part}, but {len(classes)} classes are named"
            )
        pixels.append(x)
        labels.append(y)
    if pixels[0].shape[1:] != pixels[1].shape[1:]:
        raise InputError(f"{folder} has images of two sizes in its training and test part")
    height, width = pixels[0].shape[1:]
    if (size or height, size or width) != (height, width) or channels not in (None, 1):
        raise InputError(
            f"{folder} holds grey images of {height} x {width}, which are taken as they are; leave "
            "size and channels out"
        )
    raw = torch.from_numpy(np.concatenate(pixels))[:, None]
    found = images(len(raw), lambda index: raw[list(index)].float() / 127.5 - 1)
    label = torch.from_numpy(np.concatenate(labels)).long()
    about = {**found.about, "classes": list(classes)}
    return Parts(len(raw), found.pick, label, about, None, len(pixels[1]))


def _place(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _idx(folder: Path, name: str, rank: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file, in its shape; no more is unpacked than its header announces."""
    path = _place(folder, name)
    if path is None:
        raise InputError(f"{folder / name} is missing, and so is {name}.gz")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            head = file.read(4 + 4 * rank)
            if len(head) < 4 + 4 * rank or head[:4] != bytes((0, 0, 8, rank)):
                raise InputError(f"{path} is no IDX file of bytes with {rank} dimensions")
            shape = struct.unpack(f">{rank}I", head[4:])
            size = math.prod(shape)
            if size > _LARGEST:
                raise InputError(f"{path} announces {size} bytes; at most {_LARGEST} are read")
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if len(content) != size:
        raise InputError(f"{path} holds {'more' if len(content) > size else 'less'} than announced")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()
