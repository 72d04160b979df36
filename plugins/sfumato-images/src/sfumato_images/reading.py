"""What lies at a path: pictures, pairs, IDX files, a font of emoji, photographs to cut up."""

from __future__ import annotations

__all__ = ["read"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfumato import Dataset, InputError
from sfumato_data import captions as tables
from sfumato_data import emoji, keys_of

from . import captions as text
from . import data, fashion, pairs, photos
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
    """Images at `path`, with captions and sources where there are some.

    Args:
        path: a folder or a file; pairs where it holds folders `source` and `target`, see `pairs`.
        captions: whether captions are a condition, where pictures have them.
        classes: names of the classes of IDX files, in the order of the labels.
        patch: cut photographs into patches of this many pixels a side; see `photos.read`.
        stride: pixels between patches.
        options: of `data.read`, such as `size` and `channels`.

    Raises:
        InputError: if there is nothing that can be read; names the file.
    """
    size, channels = options.get("size"), options.get("channels")
    if pairs.holds(path):
        if patch is not None:
            raise InputError(
                f"{path} holds pairs, which are not cut into patches; take images/folder"
            )
        found = pairs.read(path, **options)
        return _captioned(found, path / pairs.TARGET) if captions else found
    if patch is not None:
        return photos.read(path, square(patch), stride, channels)
    if classes is not None and fashion.holds(path):
        return fashion.read(path, classes, size, channels)
    if font := emoji.find_font(path):
        x, names, keys = emoji.read(font, square(size or 32), channels)
        drawn = data.images(len(x), lambda index: x[list(index)], None, keys)
        return text.captioned(drawn, names) if captions else drawn
    pictures = data.read(path, **options)
    return _captioned(pictures, path) if captions else pictures


def _captioned(pictures: Dataset, path: Path) -> Dataset:
    """Pictures with the captions in their folder, if there are any."""
    files = keys_of(pictures) if path.is_dir() else None
    told = None if files is None else tables.find(path, files)
    return pictures if told is None else text.captioned(pictures, told)
