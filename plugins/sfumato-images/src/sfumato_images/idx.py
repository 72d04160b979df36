"""IDX files, the form of MNIST: images in one file, their labels in one beside it.

A file is four bytes (0, 0, type, rank), the sizes as big-endian 32-bit numbers, and the values,
https://yann.lecun.com/exdb/mnist (Y. LeCun, C. Cortes, C. Burges, 1998).
"""

from __future__ import annotations

__all__ = ["is_idx", "pairs", "read"]

import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sfumato import InputError

from .guards import said

LARGEST = 1 << 32
"""Most bytes that a file holds, unpacked."""

_NAME = re.compile(r"(?P<stem>.*)[-.]idx[134]?(?P<kind>-ubyte)?(?P<zip>\.gz)?", re.IGNORECASE)
_BYTE = 0x08  # the type of unsigned bytes
_CHUNK = 1 << 24

Bytes = NDArray[np.uint8]


def is_idx(path: Path) -> bool:
    """Whether a file is named as IDX files are: `train-images-idx3-ubyte.gz`, `a.idx`."""
    return _NAME.fullmatch(path.name) is not None


def pairs(folder: Path) -> list[Path]:
    """The files of images in a folder: those of training first, then by name."""
    found = [p for p in sorted(folder.iterdir()) if is_idx(p) and p.is_file() and not _is_labels(p)]
    return sorted(found, key=lambda p: not p.name.lower().startswith("train"))


def read(path: Path) -> tuple[Bytes, Bytes | None]:
    """Images (N, H, W) or (N, H, W, C) and, if they have some, their labels (N,).

    The labels are in the file whose name says `labels` where that of the images says `images`, and
    `idx1` where it says `idx3`, packed or not.

    Raises:
        InputError: if a file is not of this form, or holds more or fewer values than it says.
    """
    images = _array(path, (3, 4))
    beside = _labels_of(path)
    if beside is None:
        return images, None
    labels = _array(beside, (1,))
    if len(labels) != len(images):
        raise InputError(f"{beside} holds {len(labels)} labels for {len(images)} images in {path}")
    return images, labels


def _is_labels(path: Path) -> bool:
    return "labels" in path.name.lower()


def _labels_of(path: Path) -> Path | None:
    plain = path.name.removesuffix(".gz")
    name = re.sub("idx[34]", "idx1", plain.replace("images", "labels"))
    if "labels" not in name or _is_labels(path):
        return None
    near = (path.with_name(name), path.with_name(f"{name}.gz"))
    return next((file for file in near if file.is_file()), None)


def _array(path: Path, ranks: tuple[int, ...]) -> Bytes:
    """The values of a file; one that is not packed is mapped, not loaded."""
    packed = path.name.lower().endswith(".gz")
    try:
        opened: Any = gzip.open(path) if packed else path.open("rb")
        with opened as file:
            shape = _shape(path, file, ranks)
            count = math.prod(shape)
            if not packed:
                there = os.fstat(file.fileno()).st_size - file.tell()
                _check_length(path, shape, there)
                return np.memmap(file, np.uint8, "r", file.tell(), shape)
            values = _bounded(file, count)
            _check_length(path, shape, len(values))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {said(error)}") from error
    return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(path: Path, file: IO[bytes], ranks: tuple[int, ...]) -> tuple[int, ...]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise InputError(f"{path} is no IDX file: it does not begin with two zeros, type and rank")
    kind, rank = head[2:]
    if kind != _BYTE:
        raise InputError(f"{path} holds values of type 0x{kind:02x}; accepted is 0x08, bytes")
    if rank not in ranks:
        wanted = " or ".join(map(str, ranks))
        what = "images" if ranks[0] > 1 else "labels"
        raise InputError(f"{path} holds an array of rank {rank}; {what} have rank {wanted}")
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise InputError(f"{path} ends within its header")
    shape = struct.unpack(f">{rank}I", sizes)
    if 0 in shape:
        raise InputError(f"{path} is empty: its shape is {shape}")
    if math.prod(shape) > LARGEST:
        raise InputError(f"{path} says that it holds {math.prod(shape)} bytes, more than {LARGEST}")
    return shape


def _bounded(file: IO[bytes], count: int) -> bytearray:
    """At most one byte more than `count`, in memory that grows with what is there."""
    values = bytearray()
    while len(values) <= count and (chunk := file.read(min(_CHUNK, count + 1 - len(values)))):
        values += chunk
    return values


def _check_length(path: Path, shape: tuple[int, ...], there: int) -> None:
    if there != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        more = "more" if there > math.prod(shape) else "fewer"
        raise InputError(f"{path} holds {more} values than the {sizes} that its header says")
