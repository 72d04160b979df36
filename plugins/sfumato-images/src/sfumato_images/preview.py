"""One picture that shows many images: a grid, with a row for each class or prompt that repeats.

Of pairs it shows strips: the sources, what was made of them, and the targets where they are known.
"""

from __future__ import annotations

__all__ = ["preview"]

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from sfumato import Batch
from sfumato_train.pinning import SOURCE

from .captions import CAPTION, unpack
from .files import pictures, save

_CELL = 48  # images smaller than this are enlarged by a whole factor
_SIDE = 2048  # the picture is not larger than this unless one image is
_ACROSS, _MOST = 10, 100  # images in a row of a class; images where there are no rows
_GAP = 4
_TEXT = 14
_WORDS = 48  # letters of a caption that are shown

Rows = Sequence[tuple[str, Sequence[int]]]


def preview(batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
    """Write a PNG file with images of a batch, enlarged if they are tiny.

    With at least two classes among them, each class has a row of up to ten, its name beside it, and
    so has each caption where there are captions; otherwise up to a hundred stand in rows of equal
    length. With the condition `source` up to ten stand above one another with their source and the
    fact `target`, if it is there.

    Args:
        batch: images in [-1, 1].
        path: the file; its folder is made where it is missing.
        about: the facts of the data, for the names of the classes.
    """
    height, width = batch.x.shape[2:]
    factor = max(1, _CELL // max(height, width))
    cell = (width * factor + _GAP, height * factor + _GAP)
    across, down = max(1, _SIDE // cell[0]), max(1, _SIDE // cell[1])
    if SOURCE in batch.condition:
        batch, rows = _strips(batch, min(across, _ACROSS), down)
    else:
        rows = _rows(batch, about, across, down)
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(_drawn(batch, rows, cell, factor), path)


def _rows(batch: Batch, about: Mapping[str, Any], across: int, down: int) -> Rows:
    """For each row its name and which images stand in it."""
    count = len(batch.x)
    if CAPTION in batch.condition:
        return _captioned(unpack(batch.condition[CAPTION]), min(across, _ACROSS), down)
    labels = batch.condition.get("label")
    if labels is None or len(labels.unique()) < 2:
        columns = min(across, math.ceil(math.sqrt(min(count, _MOST))))
        shown = min(count, _MOST, columns * down)
        return [("", range(i, min(i + columns, shown))) for i in range(0, shown, columns)]
    return [
        (
            about["classes"][label],
            torch.nonzero(labels == label)[:, 0].tolist()[: min(across, _ACROSS)],
        )
        for label in labels.unique().tolist()[:down]
    ]


def _strips(batch: Batch, across: int, down: int) -> tuple[Batch, Rows]:
    """Sources, outputs and targets as one batch, and its rows in bands of these."""
    parts = {"source": batch.condition[SOURCE], "output": batch.x}
    if "target" in batch.about:
        parts["target"] = torch.stack(batch.about["target"])
    count = len(batch.x)
    shown = min(count, across * max(1, down // len(parts)), _MOST)
    rows = [
        (name, range(place * count + first, place * count + min(first + across, shown)))
        for first in range(0, shown, across)
        for place, name in enumerate(parts)
    ]
    return Batch(torch.cat(list(parts.values()))), rows


def _captioned(texts: Sequence[str], across: int, down: int) -> Rows:
    """A row for each caption, in the order in which they come."""
    rows: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        rows.setdefault(text, []).append(i)
    return [
        (textwrap.shorten(text, _WORDS, placeholder=" ..."), index[:across])
        for text, index in list(rows.items())[:down]
    ]


def _drawn(batch: Batch, rows: Rows, cell: tuple[int, int], factor: int) -> Image.Image:
    font = ImageFont.load_default(_TEXT)
    margin = max((math.ceil(font.getlength(name)) for name, _ in rows), default=0)
    margin += 2 * _GAP if margin else 0
    across = max(len(index) for _, index in rows)
    size = (margin + cell[0] * across + _GAP, cell[1] * len(rows) + _GAP)
    canvas = Image.new("RGB" if batch.x.shape[1] > 1 else "L", size, "white")
    draw = ImageDraw.Draw(canvas)
    for y, (name, index) in enumerate(rows):
        top = _GAP + y * cell[1]
        middle = top + (cell[1] - _GAP) / 2
        draw.text((margin - _GAP, middle), name, fill="black", font=font, anchor="rm")
        for x, image in enumerate(pictures(batch.x[list(index)])):
            large = image.resize(
                (image.width * factor, image.height * factor), Image.Resampling.NEAREST
            )
            mask = large if large.mode == "RGBA" else None
            canvas.paste(large, (margin + _GAP + x * cell[0], top), mask)
    return canvas
