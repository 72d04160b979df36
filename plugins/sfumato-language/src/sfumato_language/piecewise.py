"""Long texts for the library tokenizers, which takes a hundred bytes for each character at once."""

from __future__ import annotations

__all__ = ["cut", "ids_of"]

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE, SHARED, AGREED = 1 << 18, 1 << 12, 32
"""Characters of a text that are given to the library at once, and more that the next piece begins
with, of which so many tokens in a row have to come out alike."""


def cut(texts: Iterable[str]) -> Iterator[str]:
    """Texts in pieces, for counting what is in them: a cut may go through a word."""
    return (text[at : at + PIECE] for text in texts for at in range(0, len(text), PIECE))


def ids_of(encoded: Callable[[str], Any], text: str) -> NDArray[np.int64]:
    """The ids that a text has as a whole.

    Each piece ends, and the next one begins, in the midst of tokens that both have; a tokenizer
    that gives no such tokens is given the text as a whole.

    Args:
        encoded: gives the library's `Encoding` of a text.
        text: of any length.
    """
    found = encoded(text[: PIECE + SHARED])
    parts, first = [], 0
    for begin in range(PIECE, len(text) - SHARED, PIECE):
        following = encoded(text[begin : begin + PIECE + SHARED])
        seam = _seam(found, following)
        if seam is None:
            return np.asarray(encoded(text).ids, dtype=np.int64)
        parts.append(np.asarray(found.ids[first : seam[0]], dtype=np.int64))
        found, first = following, seam[1]
    return np.concatenate([*parts, np.asarray(found.ids[first:], dtype=np.int64)])


def _seam(before: Any, after: Any) -> tuple[int, int] | None:
    """Of two pieces, `PIECE` apart, the tokens at which one may pass from the one to the other.

    That is the middle of the most tokens in a row that both have at the same places, since tokens
    at the ends of pieces may be others than in the text; None if they are fewer than `AGREED`.
    """
    place = {
        (start + PIECE, end + PIECE, token): j
        for j, ((start, end), token) in enumerate(zip(after.offsets, after.ids, strict=True))
        if start < SHARED
    }
    last, run, longest, seam = -2, 0, 0, None
    for i, ((start, end), token) in enumerate(zip(before.offsets, before.ids, strict=True)):
        j = place.get((start, end, token), -2)
        run = run + 1 if j == last + 1 else int(j >= 0)
        last = j
        if run > longest:
            longest, seam = run, (i - run // 2, j - run // 2)
    return seam if longest >= AGREED else None
