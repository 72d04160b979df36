"""A Brownian path that is stored as its seeds and computed where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from sfumato import InputError, random
from sfumato.state import axpy, scale

from .linear import Seeds, drawn, noise, source

__all__ = ["BrownianPath", "Increment"]

_DEPTH = 16  # bisections of an octave; two times of a grid may lie 2^-16 apart, relatively
_LOWEST = -40  # the octave below which the path is one piece


class Increment(NamedTuple):
    """What a path does over an interval of length h.

    Attributes:
        w: W(b) - W(a), of variance h.
        area: H, the space-time Levy area (1/h) int_a^b (W(u) - W(a)) du - w/2: independent of w,
            of variance h/12.
    """

    w: Any
    area: Any


class _Piece(NamedTuple):
    """Increment w, its integral int (W(u) - W(a)) du, and the length of the interval."""

    w: Any
    integral: Any
    length: float


def _joined(one: _Piece | None, two: _Piece) -> _Piece:
    if one is None:
        return two
    integral = axpy(two.length, one.w, one.integral + two.integral)
    return _Piece(one.w + two.w, integral, one.length + two.length)


def _rest(whole: _Piece, head: _Piece) -> _Piece:
    """What is left of a piece when its head is cut off."""
    length = whole.length - head.length
    integral = axpy(-length, head.w, whole.integral - head.integral)
    return _Piece(whole.w - head.w, integral, length)


@dataclass(frozen=True)
class BrownianPath:
    """One path of Brownian motion on (0, inf) for a whole batch, or one for each item.

    The same seeds give the same path on any grid, down to the last bit where the times agree: every
    octave [2^k, 2^(k+1)] is bisected as far as needed by the exact law of the two halves given the
    whole (Foster, Lyons & Oberhauser 2020, arXiv:1904.06998), each part drawn from a generator
    derived from the seed and the place of the part. A time costs up to 36 normal draws of the
    size of the state, an octave that is crossed 2 more; nothing is kept between calls.

    Attributes:
        seeds: one for the batch, or one for each item.
    """

    seeds: Seeds

    @classmethod
    def draw(cls, generator: random.Source) -> Self:
        """A path: one for each item where `generator` is `Streams`."""
        return cls(drawn(generator))

    def increments(self, process: Any, like: Any, times: Sequence[float]) -> list[Increment]:
        """Increments between neighbouring times, which ascend; the first may be 0.

        Args:
            process: whose space the noise lives in.
            like: state whose layout the increments take.
            times: at least two.

        Raises:
            InputError: for times that do not ascend, or lie closer than the path is resolved.
        """
        for a, b in zip(times, times[1:], strict=False):
            if not (0 <= a < b < math.inf and b - a >= b * 2.0 ** (1 - _DEPTH)):
                raise InputError(
                    f"a path is followed along finite times that ascend by at least "
                    f"{2.0 ** (1 - _DEPTH):.1g} of themselves, not from {a} to {b}"
                )
        found, walk = [], _Walk(self, process, like)
        octave, head = walk.locate(times[0])
        for time in times[1:]:
            until, next_head = walk.locate(time)
            piece: _Piece | None = None
            for k in range(octave, until):
                whole = walk.octave(k)
                part = whole if head is None else _rest(whole, head)
                piece, head = _joined(piece, part), None
            if next_head is not None:
                part = next_head if head is None else _rest(next_head, head)
                piece = _joined(piece, part)
            assert piece is not None
            octave, head = until, next_head
            area = axpy(-0.5, piece.w, scale(1 / piece.length, piece.integral))
            found.append(Increment(piece.w, area))
        return found


class _Walk:
    """The pieces of a path that a walk asks for."""

    def __init__(self, path: BrownianPath, process: Any, like: Any) -> None:
        self.path, self.process, self.like = path, process, like

    def _normals(self, *place: int) -> tuple[Any, Any]:
        here = source(self.path.seeds, "brownian", *place)
        return noise(self.process, self.like, here), noise(self.process, self.like, here)

    def octave(self, k: int) -> _Piece:
        """The whole of [2^k, 2^(k+1)], or of (0, 2^lowest]."""
        length = 2.0 ** max(k, _LOWEST)
        one, two = self._normals(k)
        w = scale(length**0.5, one)
        integral = axpy(0.5 * length, w, scale(length**1.5 / math.sqrt(12), two))
        return _Piece(w, integral, length)

    def locate(self, time: float) -> tuple[int, _Piece | None]:
        """The octave of a time, and the path from the start of the octave to it (None: no way).

        The octave before the lowest is (0, 2^lowest] as one piece.
        """
        if time == 0:
            return _LOWEST - 1, None
        k = max(math.frexp(time)[1] - 1, _LOWEST - 1)
        whole, start = self.octave(k), 2.0**k if k >= _LOWEST else 0.0
        share = (time - start) / whole.length
        if share == 0:
            return k, None
        head: _Piece | None = None
        place = 1
        for _ in range(_DEPTH):
            left = self._split(whole, 0.5, k, place)
            right = share >= 0.5
            if right:
                head, whole = _joined(head, left), _rest(whole, left)
            else:
                whole = left
            place, share = 2 * place + right, 2 * share - right
            if share == 0:
                return k, head
        return k, _joined(head, self._split(whole, share, k, place, int(share * 2**36)))

    def _split(self, whole: _Piece, share: float, *place: int) -> _Piece:
        """The first `share` of a piece, drawn given the whole."""
        (a, b, c, d), (e, f, g) = _given(share)
        one, two = self._normals(*place)
        h = whole.length
        root = h**0.5
        w = axpy(a, whole.w, axpy(b / h, whole.integral, scale(root * e, one)))
        integral = axpy(
            h * c,
            whole.w,
            axpy(d, whole.integral, axpy(h * root * f, one, scale(h * root * g, two))),
        )
        return _Piece(w, integral, share * h)


def _given(u: float) -> tuple[tuple[float, float, float, float], tuple[float, float, float]]:
    """(W(u), int_0^u W) given (W(1), int_0^1 W): regressors, and the root of the covariance."""
    cross = np.array([[u, u - u * u / 2], [u * u / 2, u * u / 2 - u**3 / 6]])
    regress = cross @ np.array([[4.0, -6.0], [-6.0, 12.0]])  # inverse of [[1, 1/2], [1/2, 1/3]]
    left = np.array([[u, u * u / 2], [u * u / 2, u**3 / 3]]) - regress @ cross.T
    e = math.sqrt(max(left[0, 0], 0.0))
    f = left[1, 0] / e if e > 0 else 0.0
    a, b, c, d = (float(v) for v in regress.flatten())
    return (a, b, c, d), (e, f, math.sqrt(max(left[1, 1] - f * f, 0.0)))
