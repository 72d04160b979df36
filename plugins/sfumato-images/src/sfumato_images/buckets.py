"""Sizes of one area and several aspects, so that pictures are cut little and batches are whole.

NovelAI 2022, "Aspect Ratio Bucketing" (github.com/NovelAI/novelai-aspect-ratio-bucketing); Podell
et al. 2023, arXiv:2307.01952, section 2.3.
"""

from __future__ import annotations

__all__ = ["nearest", "sizes"]

import math
from collections.abc import Sequence

from sfumato import InputError

from .fitting import LONGEST, Size

STEP = 8
"""Every side is a multiple of this, so that networks can halve it three times."""

STEPS = 16
"""A side is a multiple of twice `STEP` and so on if it still has so many, lest buckets be empty."""

WIDEST = 2.0
"""Aspects lie between one to this and this to one."""

TOLERANCE = 0.1
"""How far an area may be from the one asked for."""


def sizes(side: int) -> list[Size]:
    """The square of that side and sizes of about its area, from the tallest to the widest.

    Raises:
        InputError: if the side is no multiple of `STEP` or too long.
    """
    if side < STEP or side % STEP or side > LONGEST:
        raise InputError(
            f"buckets={side}: the side of the square bucket is a multiple of {STEP}, at most "
            f"{LONGEST}"
        )
    step = STEP
    while side % (2 * step) == 0 and 2 * STEPS * step <= side:
        step *= 2
    found: set[Size] = set()
    for short in range(step, side + 1, step):
        long = step * round(side * side / short / step)
        same_area = abs(short * long / side**2 - 1) <= TOLERANCE
        if same_area and long <= WIDEST * short:
            found |= {(short, long), (long, short)}
    return sorted(found, key=_aspect, reverse=True)


def nearest(size: Size, buckets: Sequence[Size]) -> int:
    """The number of the bucket whose aspect is nearest to that of a picture, as a ratio."""
    return min(range(len(buckets)), key=lambda i: abs(_aspect(buckets[i]) - _aspect(size)))


def _aspect(size: Size) -> float:
    return math.log(size[0] / size[1])
