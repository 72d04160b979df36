"""One picture that shows texts: a cell for each letter, grey where a token is masked."""

from __future__ import annotations

__all__ = ["preview"]

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sfumato import Batch, Padded
from sfumato_train.files import write_bytes

from .samples import texts_of
from .tokens import MASK

_CELL = (9, 18)  # pixels of a letter
_ACROSS, _MOST, _LINES = 88, 24, 8  # letters of a line, texts, lines of a text
_GAP = 8
_THUMB = 72  # pixels of a picture a side
_INK, _VEIL, _RULE = "#1b1b1b", "#b9c0cc", "#e3e3e3"


def preview(
    batch: Batch, path: Path, about: Mapping[str, Any], pictures: Tensor | None = None
) -> Path:
    """Write a PNG file with the first texts of a batch, masked tokens as grey cells.

    Args:
        batch: `Padded` ids, the mask among them in states on their way.
        path: the file; its folder is made where it is missing.
        about: facts of the data, for the tokenizer.
        pictures: (B, 3, H, W) in [-1, 1], shown beside the texts.
    """
    x: Padded = batch.x
    edge, least = (0, 0) if pictures is None else (_THUMB + _GAP, _THUMB)
    texts = texts_of(Batch(Padded(x.data[:_MOST], x.mask[:_MOST])), about, whole=True)
    blocks = [_lines(text) for text in texts]
    sides = [max(len(block) * _CELL[1], least) for block in blocks]
    height = sum(sides) + 2 * _GAP * len(sides)
    canvas = Image.new("RGB", (edge + _ACROSS * _CELL[0] + 2 * _GAP, max(height, 1)), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    begin = _GAP
    for i, (block, side) in enumerate(zip(blocks, sides, strict=True)):
        top = begin
        if pictures is not None:
            canvas.paste(_thumb(pictures[i]), (_GAP, top))
        for line in block:
            for place, letter in enumerate(line):
                left = _GAP + edge + place * _CELL[0]
                if letter == MASK:
                    box = (left, top + 3, left + _CELL[0] - 2, top + _CELL[1] - 4)
                    draw.rectangle(box, fill=_VEIL)
                elif letter.isprintable() and letter != " ":
                    middle = (left + _CELL[0] / 2, top + _CELL[1] - 4)
                    draw.text(middle, letter, fill=_INK, font=font, anchor="ms")
            top += _CELL[1]
        under = begin + side + _GAP - 1
        draw.line((_GAP, under, canvas.width - _GAP, under), fill=_RULE)
        begin += side + 2 * _GAP
    content = io.BytesIO()
    canvas.save(content, format="PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())
    return path


def _thumb(picture: Tensor) -> Image.Image:
    values = ((picture.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    image = Image.fromarray(values.movedim(0, 2).numpy())
    return image.resize((_THUMB, _THUMB), Image.Resampling.NEAREST)


def _lines(text: str) -> list[str]:
    """A text cut into lines of equal length at most; line breaks are shown as such."""
    found: list[str] = []
    for part in text.split("\n"):
        found += [part[i : i + _ACROSS] for i in range(0, len(part), _ACROSS)] or [""]
    return found[:_LINES]
