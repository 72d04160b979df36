"""Degradations by name: what is done to images to make the sources of restoration."""

from __future__ import annotations

__all__ = ["Degradation", "check", "degraded", "enlarged", "parse", "reduction"]

import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sfumato import InputError, Streams, random
from sfumato.components import close_matches

from .files import pictures
from .fitting import Size, told

Up: TypeAlias = Literal["bicubic", "nearest"]

REACH = 4
"""Standard deviations at which the Gaussian of a blur is cut off."""

_FORMS = {
    "blur": "blur:1.5 (standard deviation in pixels)",
    "mask": "mask:0.25 or mask:0.25,random (share of the image under a box)",
    "down": "down:2 or down:2,nearest (a whole factor)",
    "jpeg": "jpeg:20 (quality, 1 to 100)",
    "noise": "noise:0.2 (standard deviation, of values in [-1, 1])",
}
_WAYS = {"mask": ("centre", "random"), "down": ("bicubic", "nearest")}


class Degradation(NamedTuple):
    """One degradation.

    Attributes:
        name: `blur`, `mask`, `down`, `jpeg` or `noise`.
        amount: its parameter.
        way: of `mask` where the box is, `centre` or `random`; of `down` how the image gets its size
            back, `bicubic` or `nearest`; else empty.
    """

    name: str
    amount: float
    way: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.amount:g}" + (f",{self.way}" if self.way else "")


def parse(text: str) -> tuple[Degradation, ...]:
    """The degradations that `blur:1.5+noise:0.1` stands for, in order.

    - `blur:S`: Gaussian of the standard deviation S pixels; edges are continued by their pixels.
    - `mask:P`: a box in the centre, of the share P of the image and of its proportions, becomes
      mid-grey; `mask:P,random`: one at a random place, of a random aspect from 1:2 to 2:1.
    - `down:K`: reduced to 1/K of its sides (bicubic, anti-aliased) and enlarged again, bicubic;
      `down:K,nearest`: enlarged by repeating pixels.
    - `jpeg:Q`: written as JPEG of the quality Q, and read.
    - `noise:S`: Gaussian noise of the standard deviation S is added.

    Raises:
        InputError: for an unknown name or way (with what there is), or an amount out of range.
    """
    return tuple(_step(word, text) for word in text.split("+"))


def _step(word: str, whole: str) -> Degradation:
    found = re.fullmatch(r"\s*([a-z]+):([0-9.]+)(?:,([a-z]+))?\s*", word, re.ASCII)
    name = word.partition(":")[0].strip()
    if name not in _FORMS:
        close = close_matches(name, _FORMS)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(_FORMS)}"
        raise InputError(f"degrade={whole}: there is no degradation {name!r}; {hint}")
    try:
        amount = float(found[2]) if found else math.nan
    except ValueError:
        amount = math.nan
    ways = _WAYS.get(name, ("",))
    way = (found[3] if found else None) or ways[0]
    if not _valid(name, amount) or way not in ways:
        raise InputError(f"degrade={whole}: {word.strip()!r} is not written {_FORMS[name]}")
    return Degradation(name, amount, way)


def _valid(name: str, amount: float) -> bool:
    match name:
        case "mask":
            return 0 < amount < 1
        case "down":
            return amount >= 2 and amount == int(amount)
        case "jpeg":
            return 1 <= amount <= 100 and amount == int(amount)
        case _:
            return amount > 0


def reduction(steps: Sequence[Degradation]) -> tuple[int, Up]:
    """By what the last degradation reduces images, and how they get their size back; (1, ...)."""
    last = steps[-1] if steps else None
    if last is None or last.name != "down":
        return 1, "bicubic"
    return int(last.amount), "nearest" if last.way == "nearest" else "bicubic"


def check(steps: Sequence[Degradation], channels: int, size: Size) -> None:
    """Make sure that degradations fit images of these channels and this (height, width).

    Raises:
        InputError: for a blur wider than the image, a mask that covers no pixel or all, a factor
            that does not divide the sides, or JPEG of images with alpha.
    """
    for step in steps:
        images = f"images of {told(size)} (height x width)"
        if step.name == "blur" and step.amount > min(size):
            raise InputError(f"{step} is wider than {images}")
        if step.name == "mask":
            sides = _sides(step.amount, 1.0, size)
            if 0 in sides or sides == size:
                covers = "no pixel" if 0 in sides else "all"
                raise InputError(f"{step} covers {covers} of {images}; choose another share")
        if step.name == "down" and any(side % int(step.amount) for side in size):
            raise InputError(
                f"{step} does not divide {images}; choose a factor of both sides, or another size"
            )
        if step.name == "jpeg" and channels == 4:
            raise InputError(f"{step} has no place for alpha; give channels=3")


def degraded(x: Tensor, steps: Sequence[Degradation], seed: int, numbers: Sequence[int]) -> Tensor:
    """Images after degradations.

    What is random is a function of the seed, the place in `steps` and the number of the image.

    Args:
        x: (N, C, H, W) in [-1, 1], which the degradations fit (`check`).
        steps: the degradations, in order.
        seed: of the masks and the noise.
        numbers: the number of each image.

    Returns:
        (N, C, H, W), cut to [-1, 1] as a file of pictures is.
    """
    for place, step in enumerate(steps):
        streams = Streams.derive(seed, f"degrade {place}", numbers)
        x = _DO[step.name](x, step, streams)
    return x.clamp(-1, 1)


def enlarged(x: Tensor, factor: int, way: Up = "bicubic") -> Tensor:
    """Images (N, C, H, W) of `factor` times the sides; bicubic ones are cut to [-1, 1]."""
    if factor == 1:
        return x
    size = [factor * side for side in x.shape[2:]]
    if way == "nearest":
        return F.interpolate(x, size, mode="nearest")
    # with antialias the kernel is that of Pillow (a = -0.5), which keeps ramps as they are
    return F.interpolate(x, size, mode="bicubic", antialias=True).clamp(-1, 1)


def _blur(x: Tensor, step: Degradation, streams: Streams) -> Tensor:
    reach = max(1, math.ceil(REACH * step.amount))
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weight = (-0.5 * (place / step.amount).square()).exp()
    weight = (weight / weight.sum()).to(x.dtype)
    flat = x.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), "replicate"), weight[None, None, :, None])
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), "replicate"), weight[None, None, None])
    return flat.view_as(x)


def _mask(x: Tensor, step: Degradation, streams: Streams) -> Tensor:
    height, width = x.shape[2:]
    x = x.clone()
    for image, stream in zip(x, streams, strict=True):
        if step.way == "centre":
            h, w = _sides(step.amount, 1.0, (height, width))
            top, left = (height - h) // 2, (width - w) // 2
        else:
            u, v, stretch = random.uniform((3,), stream).tolist()
            h, w = _sides(step.amount, 2 ** (2 * stretch - 1), (height, width))
            h, w = max(1, h), max(1, w)
            top, left = int(u * (height - h + 1)), int(v * (width - w + 1))
        image[:, top : top + h, left : left + w] = 0
    return x


def _sides(share: float, aspect: float, size: Size) -> tuple[int, int]:
    """(height, width) of a box of a share of an image; `aspect` on top of that of the image."""
    height, width = size
    tall = min(1.0, max(share, math.sqrt(share * aspect)))  # within the image, of the share
    return round(height * tall), round(width * share / tall)


def _down(x: Tensor, step: Degradation, streams: Streams) -> Tensor:
    factor, way = reduction([step])
    size = [side // factor for side in x.shape[2:]]
    small = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(-1, 1)
    return enlarged(small, factor, way)


def _jpeg(x: Tensor, step: Degradation, streams: Streams) -> Tensor:
    return torch.stack([_through_jpeg(one, int(step.amount)) for one in pictures(x)]).to(x.dtype)


def _through_jpeg(image: Image.Image, quality: int) -> Tensor:
    """What JPEG leaves of a picture, (C, H, W) in [-1, 1]."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    levels = np.atleast_3d(np.asarray(Image.open(buffer))).transpose(2, 0, 1)
    return torch.from_numpy(levels.astype(np.float32)) / 127.5 - 1


def _noise(x: Tensor, step: Degradation, streams: Streams) -> Tensor:
    drawn: Tensor = random.normal(x, streams)
    return x + step.amount * drawn


_DO: dict[str, Callable[[Tensor, Degradation, Streams], Tensor]] = {
    "blur": _blur,
    "mask": _mask,
    "down": _down,
    "jpeg": _jpeg,
    "noise": _noise,
}
