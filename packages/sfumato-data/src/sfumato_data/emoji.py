"""Emoji: the pictures of a colour-bitmap font, each with its name as caption.

Which characters a picture stands for is told by the font's own tables (`cmap`, and the ligatures of
`GSUB` for sequences), what they are called by the package emoji (the English names of Unicode's
CLDR).
"""

from __future__ import annotations

__all__ = ["Emoji", "caption", "find_font", "group", "read"]

import io
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sfumato import InputError

from .pictures import over_white, squared, values

if TYPE_CHECKING:
    from PIL import Image

MEMORY = 1 << 31
"""The pictures, decoded, take at most so many bytes."""

_JOINERS = {0x200D, 0xFE0E, 0xFE0F}
_SKIN = range(0x1F3FB, 0x1F400)
_PEOPLE = {0x1F468, 0x1F469, 0x1F9D1}  # man, woman, person
_GENDER = {0x2640, 0x2642}
_REGIONS = range(0x1F1E6, 0x1F200)
_TAGS = range(0xE0020, 0xE0080)

Points = tuple[int, ...]


class Emoji(NamedTuple):
    """The pictures of a font.

    Attributes:
        x: (N, C, H, W) float32 in [-1, 1].
        names: of each, in English.
        keys: by which they are split: what differs in skin tone or gender alone, and what looks the
            same, shares one.
    """

    x: Tensor
    names: Sequence[str]
    keys: Sequence[str]


def find_font(path: Path) -> Path | None:
    """The font at a path: the file itself, or the only file of a folder, but for texts."""
    if path.suffix.lower() == ".ttf":
        return path
    files = [file for file in path.iterdir() if file.suffix != ".txt"] if path.is_dir() else []
    return files[0] if len(files) == 1 and files[0].suffix.lower() == ".ttf" else None


def read(font: Path, size: int = 32, channels: int | None = None) -> Emoji:
    """The pictures of a font with the table CBDT, each centred in a square and scaled.

    Args:
        font: the file.
        size: pixels a side.
        channels: 3 (the default) over white, 4 with alpha, 1 grey over white.

    Raises:
        InputError: if it is no such font, or what reads it is not installed.
    """
    if channels not in (None, 1, 3, 4):
        raise InputError(f"channels={channels}: accepted are 1 (grey), 3 (colour), 4 (with alpha)")
    if not 1 <= size <= 4096:
        raise InputError(f"size={size}: pictures have 1 to 4096 pixels a side")
    glyphs, sequences = _opened(font)
    named = [name for name in glyphs if name in sequences]
    if not named:
        raise InputError(f"{font} has no picture that stands for characters")
    if len(named) * 16 * size * size > MEMORY:
        raise InputError(
            f"{font} has {len(named)} pictures; at size={size} they take more than {MEMORY} bytes"
        )
    mode = {None: "RGB", 1: "L", 3: "RGB", 4: "RGBA"}[channels]
    pictures = [squared(io.BytesIO(glyphs[name]), font, size, ("PNG",)) for name in named]
    x = torch.stack([values(over_white(picture, mode)) for picture in pictures])
    points = [sequences[name] for name in named]
    keys = _joined([group(one) for one in points], [_look(picture) for picture in pictures])
    names = _names()
    return Emoji(x, [caption(one, names) for one in points], keys)


def _opened(font: Path) -> tuple[Mapping[str, bytes], Mapping[str, Points]]:
    """Of a font the pictures (PNG) by glyph, and the code points of each glyph that has some."""
    try:
        from fontTools.ttLib import TTFont
    except ImportError:
        raise InputError("fonts are read by fonttools: pip install 'sfumato-data[emoji]'") from None
    try:
        with TTFont(font, lazy=True) as opened:
            if "CBDT" not in opened:
                raise InputError(f"{font} holds no colour bitmaps (the table CBDT)")
            strike = opened["CBDT"].strikeData[-1]
            glyphs = {
                name: bytes(glyph.imageData)
                for name, glyph in strike.items()
                if hasattr(glyph, "imageData")
            }
            return glyphs, _sequences(opened)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{font} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged font makes fonttools raise almost anything
        raise InputError(f"{font} is damaged: {type(error).__name__} {error}") from None


def _sequences(font: Any) -> dict[str, Points]:
    """The code points that each glyph stands for, through the ligatures of the font.

    Where several sequences give a glyph, one that has a name wins.
    """
    found: dict[str, Points] = {}
    for point, glyph in sorted(font.getBestCmap().items()):
        found.setdefault(glyph, (point,))
    ligatures = [
        ((first, *ligature.Component), ligature.LigGlyph)
        for lookup in (font["GSUB"].table.LookupList.Lookup if "GSUB" in font else ())
        for table in lookup.SubTable
        for first, several in getattr(table, "ligatures", {}).items()
        for ligature in several
    ]
    known = _names()
    while True:  # a ligature may be made of ligatures
        new: dict[str, Points] = {}
        for parts, glyph in ligatures:
            if glyph in found or any(part not in found for part in parts):
                continue
            points = sum((found[part] for part in parts), ())
            if glyph not in new or _key(new[glyph]) not in known:
                new[glyph] = points
        if not new:
            return found
        found |= new


def _names() -> Mapping[Points, str]:
    """The names of emoji by their code points, in ascending order, without joiners.

    The order is left out because fonts hold some sequences from right to left; what is lost is
    which of two people has which skin tone.
    """
    try:
        from emoji import EMOJI_DATA
    except ImportError:
        raise InputError(
            "the names of emoji are told by the package emoji: pip install 'sfumato-data[emoji]'"
        ) from None
    return {
        _key(tuple(map(ord, text))): " ".join(facts["en"].strip(":").replace("_", " ").split())
        for text, facts in EMOJI_DATA.items()
    }


def _key(points: Sequence[int]) -> Points:
    return tuple(sorted(point for point in points if point not in _JOINERS))


def caption(points: Points, names: Mapping[Points, str]) -> str:
    """The name of an emoji in lower case; of one without, those of its characters."""
    shown = [point for point in points if point not in _JOINERS]
    name = names.get(_key(points))
    if all(point in _REGIONS for point in shown) and len(shown) > 1:
        return f"flag of {name}".lower() if name else f"flag {_letters(shown)}"
    if any(point in _TAGS for point in shown):
        return f"flag of {name}".lower() if name else f"flag {_letters(shown[1:])}"
    return (name or " ".join(unicodedata.name(chr(p), f"U+{p:04X}") for p in shown)).lower()


def _letters(points: Sequence[int]) -> str:
    """The letters of a region, or of tags: `gy`, `usnd`."""
    plain = (p - 0x1F1E6 + 97 if p in _REGIONS else p - 0xE0000 for p in points)
    return "".join(chr(p) for p in plain if 32 < p < 127)


def group(points: Points) -> str:
    """What an emoji is besides skin tone and gender, as a name."""
    kept = [p for p in points if p not in _JOINERS and p not in _SKIN and p not in _GENDER]
    people = ["person" if p in _PEOPLE else f"{p:04x}" for p in kept]
    return "-".join(sorted(people)) or "-".join(f"{p:04x}" for p in points)


def _look(picture: Image.Image) -> bytes:
    """What is the same for pictures that look the same: 8 x 8 pixels in 8 levels, over white."""
    from PIL import Image

    small = over_white(picture, "RGB").resize((8, 8), Image.Resampling.BOX)
    return small.point(lambda level: level // 32).tobytes()


def _joined(groups: Sequence[str], looks: Sequence[bytes]) -> list[str]:
    """A key for each picture: those of one group, or of one look, share it."""
    above: dict[str | bytes, str | bytes] = {}

    def top(one: str | bytes) -> str | bytes:
        while above.setdefault(one, one) != one:
            one = above[one]
        return one

    for name, look in zip(groups, looks, strict=True):
        above[top(look)] = top(name)
    return [str(top(name)) for name in groups]
