"""A picture of edits: for each image a row with its source, its mask and what was made of it."""

from __future__ import annotations

__all__ = ["strip"]

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .files import save

_CELL = 96  # images smaller than this are enlarged by a whole factor
_GAP = 4


def strip(rows: Sequence[Sequence[Image.Image]], path: Path) -> Path:
    """Write a PNG file of rows of pictures, enlarged if they are tiny, over white.

    Args:
        rows: the pictures; those of one row have one size, rows may differ.
        path: the file; its folder is made where it is missing.
    """
    large = [[_enlarged(one) for one in row] for row in rows]
    width = max(sum(one.width + _GAP for one in row) for row in large) + _GAP
    height = sum(row[0].height + _GAP for row in large) + _GAP
    canvas = Image.new("RGB", (width, height), "white")
    top = _GAP
    for row in large:
        left = _GAP
        for one in row:
            canvas.paste(one, (left, top), one if one.mode == "RGBA" else None)
            left += one.width + _GAP
        top += row[0].height + _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(canvas, path)


def _enlarged(image: Image.Image) -> Image.Image:
    factor = max(1, _CELL // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
