"""Images in a NumPy or IDX file: checked once as a whole, then read batch by batch."""

from __future__ import annotations

__all__ = ["Pick", "read"]

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import InputError

from . import idx
from .guards import quiet, said

LARGEST = 1 << 32
"""Most bytes of one array inside an .npz file, which has to be unpacked as a whole."""

_BLOCK = 1 << 24  # values that are checked at a time

Array = NDArray[Any]
Pick = Callable[[Sequence[int]], Tensor]
"""Maps indices to images, float32 (B, C, H, W) in [-1, 1]."""


def read(paths: Sequence[Path]) -> tuple[int, Pick, list[str] | None]:
    """Files of images, one after the other as one set: see `read_one`.

    Raises:
        InputError: if one cannot be read, or they differ in size or in having classes.
    """
    found = [read_one(path) for path in paths]
    if len(found) == 1:
        return found[0]
    picks = [pick for _, pick, _ in found]
    first, *rest = zip(paths, picks, found, strict=True)
    for path, pick, (_, _, names) in rest:
        if pick([0]).shape != first[1]([0]).shape or (names is None) != (first[2][2] is None):
            raise InputError(
                f"{first[0]} and {path} differ in the size of their images, or one has no labels; "
                "give the path of one of them"
            )
    ends = np.cumsum([count for count, _, _ in found])

    def pick_some(index: Sequence[int]) -> Tensor:
        places = np.asarray(index)
        part = np.searchsorted(ends, places, side="right")
        some = torch.empty(len(places), *picks[0]([0]).shape[1:])
        for k in np.unique(part):
            start = ends[k - 1] if k else 0
            some[part == k] = picks[k]((places[part == k] - start).tolist())
        return some

    names = [name for _, _, each in found for name in each or ()]
    return int(ends[-1]), pick_some, names or None


def read_one(path: Path) -> tuple[int, Pick, list[str] | None]:
    """The number of images, a function that picks some, and the class name of each, if any.

    An .npy file is mapped into memory, not loaded. An .npz file holds the images as `x` or
    `images` (or as its only array) and their classes as `labels` or `y` (N,), integers or words.
    Images are (N, H, W) or (N, H, W, C) with C = 1, 3 or 4: uint8, uint16, or floats in [0, 1] or,
    if any is negative, in [-1, 1]. An IDX file is read by `sfumato_images.idx.read`.

    Raises:
        InputError: if the file is not of this form, or holds values that are not finite or out of
            range.
    """
    x, labels = idx.read(path) if idx.is_idx(path) else _load(path)
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[3] not in (1, 3, 4) or 0 in x.shape:
        raise InputError(
            f"{path} holds an array of shape {x.shape}; (N, H, W) or (N, H, W, C) with C = 1, 3 or "
            "4 is needed"
        )
    half, shift = _range(path, x)

    def pick(index: Sequence[int]) -> Tensor:
        some = torch.from_numpy(x[list(index)].astype(np.float32))
        return (some / half + shift).movedim(3, 1).contiguous()

    return len(x), pick, None if labels is None else _names(path, labels, len(x))


def _load(path: Path) -> tuple[Array, Array | None]:
    try:
        with quiet():
            if path.suffix.lower() == ".npy":
                return np.load(path, mmap_mode="r", allow_pickle=False), None
            return _unpacked(path)
    except InputError:
        raise
    except Exception as error:  # a damaged file makes NumPy raise almost anything
        raise InputError(f"{path} cannot be read as a NumPy file: {said(error)}") from error


def _unpacked(path: Path) -> tuple[Array, Array | None]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > LARGEST:
                raise InputError(
                    f"{entry.filename} in {path} unpacks to {entry.file_size} bytes, more than "
                    f"{LARGEST}; save it as an .npy file, which is read in parts"
                )
    with np.load(path, allow_pickle=False) as file:
        images, labels = _key(file, ("x", "images")), _key(file, ("labels", "y"))
        if images is None and len(file.files) == 1:
            images = file.files[0]
        if images is None:
            raise InputError(
                f"{path} holds the arrays {', '.join(file.files) or 'none'}; the images must be "
                "called x or images"
            )
        found = {key: file[key] for key in (images, labels) if key is not None}
        for key, value in found.items():
            if not isinstance(value, np.ndarray):  # NumPy hands out other entries as bytes
                raise InputError(f"{key} in {path} is no array")
        return found[images], None if labels is None else found[labels]


def _key(file: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((key for key in keys if key in file), None)


def _range(path: Path, x: Array) -> tuple[float, float]:
    """(half, shift): x / half + shift lies in [-1, 1]; reads every value of a float array once."""
    if x.dtype.kind == "u" and x.dtype.itemsize <= 2:
        return float(np.iinfo(x.dtype).max) / 2, -1.0
    if x.dtype.kind != "f":
        raise InputError(
            f"{path} holds {x.dtype} values; accepted are uint8 (0 to 255), uint16 (0 to 65535) "
            "and floats in [0, 1] or [-1, 1]"
        )
    low, high = 0.0, 0.0
    step = max(1, _BLOCK // x[0].size)
    for start in range(0, len(x), step):
        block = x[start : start + step]
        if not np.isfinite(block).all():
            bad = start + int(np.argmin(np.isfinite(block).all((1, 2, 3))))
            raise InputError(f"{path} holds NaN or infinite values, the first in image {bad}")
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    if low < -1 or high > 1:
        raise InputError(
            f"{path} holds floats from {low:g} to {high:g}; accepted are [0, 1], [-1, 1], uint8 "
            "and uint16"
        )
    return (1.0, 0.0) if low < 0 else (0.5, -1.0)


def _names(path: Path, labels: Array, count: int) -> list[str]:
    if labels.shape != (count,) or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{path} holds labels of shape {labels.shape} and type {labels.dtype} for {count} "
            f"images; ({count},) integers or words are needed"
        )
    return [str(label) for label in labels.tolist()]
