"""Whole numbers asked for in words, such as how large samples are to be."""

from __future__ import annotations

__all__ = ["spans"]

from sfumato import InputError

DIGITS = 6


def spans(name: str, text: str, what: str) -> list[range]:
    """The numbers in `12`, `9..20` or several of them with commas.

    Args:
        name: of the condition, for errors.
        text: what was asked for.
        what: is counted, such as `atoms`.

    Raises:
        InputError: for something else, such as `20..9`, or numbers of more than six digits.
    """
    found = []
    for word in text.split(","):
        low, dots, high = word.strip().partition("..")
        ends = (low, high) if dots else (low,)
        if not all(end.isascii() and end.isdecimal() and len(end) <= DIGITS for end in ends):
            raise InputError(
                f"{name}={text}: {word.strip()!r} is no number of {what}, such as 12 or 9..20"
            )
        span = range(int(low), int(ends[-1]) + 1)
        if not span:
            raise InputError(f"{name}={text}: {word.strip()} ends before it begins")
        found.append(span)
    return found
