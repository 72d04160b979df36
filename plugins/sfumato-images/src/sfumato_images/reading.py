"""What lies at a path: pictures, pairs of IDX files, a font of emoji, photographs to cut up."""

from __future__ import annotations

__all__ = ["read"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfumato import Dataset
from sfumato_data import keys_of

from . import captions as text
from . import data, emoji, fashion, photos
from .fitting import square


def read(
    path: Path,
    *,
    captions: bool = True,
    classes: Sequence[str] | None = None,
    patch: int | str | None = None,
    stride: int | None = None,
    **options: Any,
) -> Dataset:
    """Images at `path`, with captions where there are some.

    Args:
        path: a folder or a file.
        captions: whether captions are a condition, where pictures have them.
        classes: names of the classes of IDX files, in the order of the labels.
        patch: cut photographs into patches of this many pixels a side; see `photos.read`.
        stride: pixels between patches.
        options: of `data.read`, such as `size` and `channels`.

    Raises:
        InputError: if there is nothing that can be read; names the file.
    """
    size, channels = options.get("size"), options.get("channels")
    if patch is not None:
        return photos.read(path, square(patch), stride, channels)
    if classes is not None and fashion.holds(path):
        return fashion.read(path, classes, size, channels)
    if font := emoji.find_font(path):
        drawn, names = emoji.read(font, square(size or 32), channels)
        return text.captioned(drawn, names) if captions else drawn
    pictures = data.read(path, **options)
    if not captions or not path.is_dir():
        return pictures
    files = keys_of(pictures)
    told = None if files is None else text.find(path, files)
    return pictures if told is None else text.captioned(pictures, told)
