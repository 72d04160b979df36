"""Records that are no graphs of ours: an error, or counted and listed."""

from __future__ import annotations

__all__ = ["reject", "skipped"]

from collections.abc import Sequence
from typing import Any

from sfumato import InputError

LISTED = 20
"""Sentences that the facts of a data set keep."""


def reject(sentence: str, rejects: list[str] | None) -> None:
    """Note what is wrong with a record; raise it as an `InputError` where no list is given."""
    if rejects is None:
        raise InputError(sentence)
    rejects.append(sentence)


def skipped(rejects: Sequence[str]) -> dict[str, Any]:
    """How many records were left out, and where and why of the first ones."""
    return {"skipped": {"rejected": len(rejects), "first": list(rejects[:LISTED])}}
