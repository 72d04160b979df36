"""Pictures of 16 bits for each value: Pillow holds grey ones only, others it cuts to 8 bits.

Of colour Pillow keeps the upper byte of each value. Which byte it takes is the byte order that it
is told the file has, so a file is decoded twice, once as it is and once in the other order, and the
two give all 16 bits. No further library is needed for that, and all that Pillow unpacks (deflate,
LZW, predictors) is unpacked for both.
"""

from __future__ import annotations

__all__ = ["is_deep", "planes"]

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .fitting import Fit, Size, fitted

GREY = ("I;16", "I;16B")  # how Pillow calls grey of 16 bits

_OTHER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_KINDS = ("RGB", "RGBA", "RGBX", "LA")  # not RGBa, which is divided by its alpha on the way
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as for 8 bits
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF

Planes = NDArray[np.float32]


def is_deep(image: Image.Image) -> bool:
    """Whether the values of an opened picture have 16 bits that are worth keeping."""
    kind, _, order = raw_mode(image).partition(";")
    return image.mode in GREY or (kind in _KINDS and order in _OTHER)


def is_grey(image: Image.Image) -> bool:
    """Whether a deep picture is grey."""
    return image.mode in GREY or raw_mode(image) == "LA;16B"


def raw_mode(image: Image.Image) -> str:
    """How the values stand in the file, in Pillow's words; empty where it does not say."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    name = args[0] if isinstance(args, tuple) and args else args
    return name if isinstance(name, str) else ""


def planes(
    image: Image.Image,
    again: Callable[[], AbstractContextManager[Image.Image]],
    turn: Callable[[Image.Image], Image.Image],
    channels: int,
    size: Size | None,
    fit: Fit,
) -> Planes:
    """The values of a deep picture, float32 (channels, height, width) in [0, 1].

    Args:
        image: opened, not yet loaded.
        again: opens the same file once more.
        turn: applies the rotation that the file asks for.
        channels: 1 for grey, 3 for colour, 4 for colour with alpha.
        size: what to bring it to; None: as it is.
        fit: how.
    """
    most, inverted = _most(image), _white_is_zero(image)
    colours, alpha = _apart(_values(image, again), image.info.get("transparency"))
    ground = 1.0 if channels < 4 else 0.0  # of four, colours are weighted by how much shows

    def brought(plane: Planes) -> Planes:
        turned = turn(Image.fromarray(plane))
        return np.asarray(turned if size is None else fitted(turned, size, fit, ground), np.float32)

    shown = np.empty(0, np.float32)
    for i in range(colours.shape[-1]):  # one by one and in place, as a picture may be large
        plane = colours[..., i].astype(np.float32)
        plane /= most
        if inverted:
            np.subtract(1, plane, out=plane)
        if alpha is not None:
            plane *= alpha
            plane += ground * (1 - alpha)
        plane = brought(plane)
        shown = shown if i else np.zeros((channels, *plane.shape), np.float32)
        if colours.shape[-1] == 1:
            shown[:3] = plane
        elif channels == 1:
            shown[0] += _LUMA[i] * plane
        else:
            shown[i] = plane
    if channels == 4:
        shown[3] = brought(np.ones(colours.shape[:2], np.float32) if alpha is None else alpha)
        cover = shown[3].clip(0, 1)
        np.divide(shown[:3], cover, out=shown[:3], where=cover > 0)
        shown[:3, cover <= 0] = 1
    return shown.clip(0, 1, out=shown)


def _values(
    image: Image.Image, again: Callable[[], AbstractContextManager[Image.Image]]
) -> NDArray[np.uint16]:
    """All 16 bits of each value, (height, width, colours and alpha)."""
    raw = raw_mode(image)
    if image.mode in GREY:
        image.load()
        return np.asarray(image).astype(np.uint16)[..., None]
    if raw == "LA;16B":  # Pillow makes four bytes of it, and these are the four of the file
        bytes_ = _loaded(image, "RGBA")
        return _joined(bytes_[..., 0::2], bytes_[..., 1::2])
    kind, order = raw.split(";")
    with again() as other:
        low = _loaded(other, f"{kind};{_OTHER[order]}")
    return _joined(_loaded(image, raw), low)


def _joined(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return np.left_shift(high, 8, dtype=np.uint16) | low


def _loaded(image: Image.Image, raw: str) -> NDArray[np.uint8]:
    """The bytes of a picture when its values are taken to stand in the file as told."""

    def told(args: Any) -> Any:
        return (raw, *args[1:]) if isinstance(args, tuple) else raw

    tiled: Any = image
    tiled.tile = [tile._replace(args=told(tile.args)) for tile in tiled.tile]
    image.load()
    return np.asarray(image)


def _apart(
    values: NDArray[np.uint16], clear: int | tuple[int, ...] | None
) -> tuple[NDArray[np.uint16], Planes | None]:
    """Colours, and alpha (height, width) in [0, 1]; a PNG may name one colour that is clear."""
    colours = values.shape[-1]
    if colours in (2, 4):
        return values[..., :-1], values[..., -1].astype(np.float32) / np.float32(65535)
    if clear is None or isinstance(clear, bytes):
        return values, None
    return values, (values != np.asarray(clear)).any(-1).astype(np.float32)


def _most(image: Image.Image) -> int:
    return 4095 if raw_mode(image) == "I;12" else 65535


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF counts from white, which Pillow heeds for 8 bits alone."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return image.mode in GREY and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
