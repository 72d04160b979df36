"""Plain aligned columns: readable on a terminal, easy to cut in a pipe, quick to import."""

from __future__ import annotations

__all__ = ["columns", "type_name"]

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import get_origin

import typer

GAP = 2


def columns(rows: Iterable[Sequence[str]]) -> None:
    """Print rows of equal length in aligned columns; a terminal gets the last column wrapped."""
    rows = [tuple(row) for row in rows]
    if not rows:
        return
    widths = [max(map(len, column)) + GAP for column in zip(*rows, strict=True)][:-1]
    left = sum(widths)
    room = max(24, shutil.get_terminal_size().columns - left) if sys.stdout.isatty() else 10**6
    for *cells, last in rows:
        start = "".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        lines = textwrap.wrap(last, room) or [""]
        typer.echo((start + ("\n" + " " * left).join(lines)).rstrip())


def type_name(annotation: object) -> str:
    """A type as its author wrote it, without the modules it comes from."""
    if isinstance(annotation, type) and not get_origin(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
