"""One picture file: what its header says, its pixels, and how pixels become a file."""

from __future__ import annotations

__all__ = ["LIMIT", "SUFFIXES", "Header", "decode", "header", "pictures", "save"]

import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from sfumato import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
LIMIT = 1 << 26
"""Most pixels that a picture may have, 8192 x 8192: a small file can unpack to any number."""

_ORIENTATION = 0x0112
_DEEP = ("I;16", "I;16B", "I")  # how Pillow calls grey of 16 bits
_GREY = ("1", "L", "LA", *_DEEP)


class Header(NamedTuple):
    """What is known of a picture before its pixels are read.

    Attributes:
        size: (height, width), after the rotation that the file asks for.
        grey: whether it has no colour.
    """

    size: tuple[int, int]
    grey: bool


def header(path: Path) -> Header:
    """Read the header of a PNG or JPEG file.

    Raises:
        InputError: if it is not such a file, or has more than `LIMIT` pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = _opened(path)
    with image:
        width, height = image.size
        size = (width, height) if _orientation(image) >= 5 else (height, width)
        return Header(size, _is_grey(image))


def decode(path: Path, channels: int, size: int | None = None) -> Tensor:
    """The pixels of a PNG or JPEG file, float32 (channels, height, width) in [-1, 1].

    The rotation of the EXIF data is applied; 16-bit grey keeps its depth; transparency is laid
    over white unless there are 4 channels.

    Args:
        path: the file.
        channels: 1 for grey, 3 for colour, 4 for colour with alpha.
        size: if given, the picture is scaled until its shorter side has this length (bicubic,
            anti-aliased) and its centre is cut out.

    Raises:
        InputError: if the file cannot be read.
    """
    with _opened(path) as image:
        turn = _orientation(image)
        if size is not None:
            image.draft(None, (2 * size, 2 * size))  # JPEG alone: decodes large ones at a fraction
        try:
            image.load()
            values = _values(_turned(image, turn), channels, size)
        except Exception as error:  # a damaged file makes Pillow raise almost anything
            raise InputError(f"{path} is damaged: {_text(error)}") from error
    return torch.from_numpy(values)


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path, formats=FORMATS)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{path} has too many pixels; at most {LIMIT} are accepted") from error
    except Exception as error:
        raise InputError(f"{path} is not a PNG or JPEG picture, whatever its name says") from error
    if image.width * image.height > LIMIT:
        image.close()
        raise InputError(f"{path} has too many pixels; at most {LIMIT} are accepted")
    return image


def _orientation(image: Image.Image) -> int:
    """1 to 8 as in EXIF; 1 where there is none, or it stands behind the pixels or is damaged."""
    if "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def _is_grey(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GREY
    colours = np.reshape(image.getpalette() or [], (-1, 3))
    return bool((colours == colours[:, :1]).all())


def _values(image: Image.Image, channels: int, size: int | None) -> NDArray[np.float32]:
    """Float32 (channels, height, width) in [-1, 1]."""
    deep = image.mode in _DEEP
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    image = image.convert("F") if deep else _flat(image, mode)
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    values = np.asarray(image, dtype=np.float32) / (32767.5 if deep else 127.5) - 1
    if values.ndim == 3:
        return np.ascontiguousarray(values.transpose(2, 0, 1))
    planes = np.repeat(values.clip(-1, 1)[None], channels, axis=0)
    if channels == 4:
        planes[3] = 1
    return planes


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The picture in the mode asked for, over white where that has no transparency."""
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def pictures(x: Tensor) -> list[Image.Image]:
    """Images (N, C, H, W) in [-1, 1], C = 1, 3 or 4, as 8-bit pictures; values beyond are cut.

    Raises:
        InputError: for another shape, or values that are not finite.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3, 4) or 0 in x.shape[2:]:
        raise InputError(
            f"images of shape {tuple(x.shape)} are no pictures; (N, C, H, W) with C = 1, 3 or 4 is "
            "needed"
        )
    if not x.isfinite().all():
        bad = int(x.isfinite().flatten(1).all(1).logical_not().nonzero()[0])
        raise InputError(f"image {bad} holds NaN or infinite values")
    levels = ((x.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    each = levels.movedim(1, 3).numpy()
    return [Image.fromarray(one[..., 0] if x.shape[1] == 1 else one) for one in each]


def save(image: Image.Image, path: Path) -> Path:
    """Write a PNG file, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        image.save(beside, format="PNG", optimize=True)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path
