"""Pictures of any size brought to one: cut to it, padded to it, or stretched."""

from __future__ import annotations

__all__ = ["Fit", "Size", "fitted", "parse_size", "square", "told"]

import re
from typing import Literal, TypeAlias, get_args

from PIL import Image, ImageOps

from sfumato import InputError

Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""

Fit: TypeAlias = Literal["cut", "pad", "stretch"]
FITS: tuple[Fit, ...] = get_args(Fit)

LONGEST = 4096
"""Most pixels a side that pictures are brought to."""


def parse_size(text: int | str) -> Size:
    """The size that `32` (a square) or `64x48` (height x width) stands for.

    Raises:
        InputError: for anything else, or a side outside 1 to `LONGEST`.
    """
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(text).strip(), re.ASCII)
    if found is None:
        raise InputError(f"size={text}: a size is written 32 or, as height x width, 64x48")
    height = int(found[1])
    width = int(found[2] or height)
    if not 1 <= min(height, width) <= max(height, width) <= LONGEST:
        raise InputError(f"size={text}: pictures have 1 to {LONGEST} pixels a side")
    return height, width


def square(text: int | str) -> int:
    """The side that a size stands for, which must be that of a square.

    Raises:
        InputError: see `parse_size`; and for another height than width.
    """
    height, width = parse_size(text)
    if height != width:
        raise InputError(f"size={text}: these pictures are squares; give one side, such as 32")
    return height


def told(size: Size) -> str:
    """A size in words."""
    return f"{size[0]} x {size[1]}"


def fitted(image: Image.Image, size: Size, fit: Fit, ground: float | None = None) -> Image.Image:
    """The picture at another size (bicubic, anti-aliased).

    Args:
        image: of the mode L, RGB, RGBA or F.
        size: what it is brought to.
        fit: "cut": scaled until it covers the size, the centre cut out; "pad": scaled until it fits
            within, centred on white (transparent where there is alpha); "stretch": scaled to the
            size, whatever that does to its proportions.
        ground: for "pad" of the mode F, what it is centred on.
    """
    height, width = size
    match fit:
        case "cut":
            return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        case "stretch":
            return image.resize((width, height), Image.Resampling.BICUBIC)
        case "pad":
            inner = ImageOps.contain(image, (width, height), Image.Resampling.BICUBIC)
            if inner.size == (width, height):
                return inner
            colour = _WHITE[image.mode] if ground is None else ground
            whole = Image.new(image.mode, (width, height), colour)
            whole.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
            return whole


_WHITE: dict[str, float | tuple[int, ...]] = {
    "L": 255,
    "RGB": (255, 255, 255),
    "RGBA": (255, 255, 255, 0),
}
