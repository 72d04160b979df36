"""One picture file: what its header says, its pixels, and how pixels become a file."""

from __future__ import annotations

__all__ = ["LIMIT", "SUFFIXES", "File", "Header", "decode", "header", "pictures", "save"]

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sfumato import InputError

from . import deep
from .fitting import Fit, Size, fitted
from .guards import quiet, said

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
LIMIT = 1 << 26
"""Most pixels that a picture may have, 8192 x 8192: a small file can unpack to any number."""
LONGEST = 65_535
"""Most pixels a side, as in JPEG."""

_ANIMATED = ("PNG", "WEBP", "GIF", "TIFF")  # a JPEG may carry further pictures; the first is meant
_ORIENTATION = 0x0112
_BITS, _PLANES = 258, 284  # tags of TIFF
_WIDE = ("I", "F")  # how Pillow calls 32 bits, and 16 bits with a sign


class File(Protocol):
    """A file on the disk (a `Path` is one) or in an archive; as text, how a message names it."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """Its content from the start; raises OSError, or InputError where it is damaged."""


class Header(NamedTuple):
    """What is known of a picture before its pixels are read.

    Attributes:
        size: (height, width), after the rotation that the file asks for.
        grey: whether it has no colour.
    """

    size: Size
    grey: bool


def header(file: File) -> Header:
    """Read the header of a picture file.

    Raises:
        InputError: if it is no picture, has more than `LIMIT` pixels or `LONGEST` a side, several
            frames or pages, or values of more than 16 bits.
    """
    with _opened(file) as image:
        width, height = image.size
        size = (width, height) if _orientation(image) >= 5 else (height, width)
        return Header(size, _is_grey(image))


def decode(file: File, channels: int, size: Size | None = None, fit: Fit = "cut") -> Tensor:
    """The pixels of a picture file, float32 (channels, height, width) in [-1, 1].

    The rotation of the EXIF data is applied; 16 bits keep their depth; transparency is laid over
    white unless there are 4 channels.

    Args:
        file: PNG, JPEG, WebP, TIFF, BMP or GIF.
        channels: 1 for grey, 3 for colour, 4 for colour with alpha.
        size: (height, width) to bring the picture to (bicubic, anti-aliased); None: as it is.
        fit: how; see `sfumato_images.fitting.fitted`.

    Raises:
        InputError: if the file cannot be read, see `header`.
    """
    with _opened(file) as image:
        turn = _orientation(image)
        if size is not None:
            image.draft(None, (2 * max(size),) * 2)  # JPEG alone: decodes large ones at a fraction

        def turned(picture: Image.Image) -> Image.Image:
            return picture if turn == 1 else picture.transpose(_TURNS[turn])

        try:
            # the end of loading a TIFF reads its metadata, all of it, and warns of what it finds
            with quiet() if image.format == "TIFF" else nullcontext():
                if deep.is_deep(image):
                    shown = deep.planes(image, lambda: _opened(file), turned, channels, size, fit)
                else:
                    image.load()
                    shown = _planes(turned(image), channels, size, fit)
        except InputError:
            raise
        except Exception as error:  # a damaged file makes Pillow raise almost anything
            raise InputError(f"{file} is damaged: {said(error)}") from error
    return torch.from_numpy(shown).mul_(2).sub_(1)


@contextmanager
def _opened(file: File) -> Iterator[Image.Image]:
    """A picture whose pixels are not read yet, found to be of a kind that can be."""
    try:
        content = file.open("rb")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or said(error)}") from error
    with content:
        with quiet():
            image = _identified(file, content)
            if image.width * image.height > LIMIT or max(image.size) > LONGEST:
                raise InputError(_too_large(file))
            _check(file, image)
        yield image


def _identified(file: File, content: IO[bytes]) -> Image.Image:
    try:
        return Image.open(content, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(file)) from error
    except Exception as error:
        raise InputError(
            f"{file} is no picture that can be read (PNG, JPEG, WebP, TIFF, BMP, GIF), "
            "whatever its name says"
        ) from error


def _check(file: File, image: Image.Image) -> None:
    try:
        frames = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
    except Exception as error:
        raise InputError(f"{file} is damaged: {said(error)}") from error
    if frames != 1:
        raise InputError(
            f"{file} has {frames} frames or pages, but a picture has one; save each as a file"
        )
    if image.mode in _WIDE:
        raise InputError(
            f"{file} has signed, 32-bit or float values; accepted are 1 to 16 bits without sign"
        )
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if tags.get(_PLANES) == 2 and any(bits == 16 for bits in tags.get(_BITS, ())):
        raise InputError(f"{file} keeps its 16-bit colours apart (planar); save them interleaved")


def _too_large(file: File) -> str:
    return f"{file} has too many pixels; at most {LIMIT}, and {LONGEST} a side, are accepted"


def _orientation(image: Image.Image) -> int:
    """1 to 8 as in EXIF; 1 where there is none, or it stands behind the pixels or is damaged."""
    if "exif" not in image.info or image.format == "TIFF":  # of a TIFF Pillow turns size and pixels
        return 1
    try:
        with quiet():
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


def _is_grey(image: Image.Image) -> bool:
    if deep.is_deep(image):
        return deep.is_grey(image)
    if image.palette is None or image.mode not in ("P", "PA"):
        return image.mode in ("1", "L", "LA", "La")
    mode, content = image.palette.getdata()  # of the header; `getpalette` would read the pixels
    values = np.frombuffer(bytes(content), np.uint8)
    if mode == "RGB;L":  # in planes, as TIFF has it
        colours = values[: len(values) // 3 * 3].reshape(3, -1).T
    else:  # RGB, BGRX and the like
        colours = values[: len(values) // len(mode) * len(mode)].reshape(-1, len(mode))[:, :3]
    return bool((colours == colours[:, :1]).all())


def _planes(image: Image.Image, channels: int, size: Size | None, fit: Fit) -> NDArray[np.float32]:
    """Float32 (channels, height, width) in [0, 1]."""
    image = _flat(image, {1: "L", 3: "RGB", 4: "RGBA"}[channels])
    if size is not None:
        image = fitted(image, size, fit)
    levels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    values = levels.astype(np.float32, order="C")
    values /= 255  # in place, as a picture may be large
    return values


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The picture in the mode asked for, over white where that has no transparency."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "LAB":
        image = _from_lab(image)
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_lab(image: Image.Image) -> Image.Image:
    """CIE L*a*b* as sRGB, which needs the colour management of Pillow."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image


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
