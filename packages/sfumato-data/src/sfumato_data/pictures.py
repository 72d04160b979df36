"""Picture files as small squares, for models that look at pictures but are not about them."""

from __future__ import annotations

__all__ = ["LIMIT", "SUFFIXES", "over_white", "read", "squared", "values"]

from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch
from torch import Tensor

from sfumato import InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
LIMIT = 1 << 26
"""Most pixels that a picture may have, 8192 x 8192: a small file can unpack to any number."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


def read(file: Path, size: int) -> Tensor:
    """A picture file, the first frame of it, as a square: (3, size, size) float32 in [-1, 1].

    It is centred over white, turned as its EXIF data asks for, and scaled.

    Raises:
        InputError: if it cannot be read, or has more than `LIMIT` pixels.
    """
    try:
        with file.open("rb") as content:
            return values(over_white(squared(content, file, size, _FORMATS), "RGB"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None


def squared(
    content: IO[bytes], where: object, size: int, formats: tuple[str, ...] = _FORMATS
) -> Image.Image:
    """A picture in the centre of a transparent square, scaled to `size` pixels a side, as RGBA.

    Args:
        content: a file.
        where: what messages call it.
        size: pixels a side.
        formats: names of Pillow that are accepted.

    Raises:
        InputError: if it is no such picture, is damaged, or has more than `LIMIT` pixels.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise InputError("pictures are read by pillow: pip install pillow") from None
    try:
        with Image.open(content, formats=formats) as image:
            if image.width * image.height > LIMIT:
                raise InputError(f"{where} holds a picture with more than {LIMIT} pixels")
            picture = ImageOps.exif_transpose(image).convert("RGBA")
    except InputError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise InputError(f"{where} holds a damaged picture: {error}") from None
    side = max(picture.size)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def over_white(picture: Image.Image, mode: str) -> Image.Image:
    """A picture (RGBA) over white, in the mode asked for; as it is, where that has transparency."""
    from PIL import Image

    if mode == "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert(mode)


def values(picture: Image.Image) -> Tensor:
    """(C, H, W) float32 in [-1, 1]."""
    import numpy as np

    found = torch.from_numpy(np.array(picture)).float() / 127.5 - 1
    return found[None] if found.ndim == 2 else found.movedim(2, 0).contiguous()
