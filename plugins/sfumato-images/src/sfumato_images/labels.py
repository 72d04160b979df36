"""The classes of pictures: from a table beside them, or from the folders that they are in."""

from __future__ import annotations

__all__ = ["LABELS", "class_names", "ordered", "table"]

import csv
import io
from collections.abc import Sequence

from sfumato import InputError

LABELS = "labels.csv"
LARGEST = 1 << 28
"""Most bytes of a table."""


def class_names(keys: Sequence[str]) -> list[str] | None:
    """The class of each picture by the folder it is in; None unless there are two or more.

    Args:
        keys: where each stands, `cat/0.png`.
    """
    folders = [key.partition("/")[0] if "/" in key else "" for key in keys]
    return folders if "" not in folders and len(set(folders)) >= 2 else None


def table(content: bytes, where: object, keys: Sequence[str]) -> list[str]:
    """The class of each picture as told by a table (CSV, UTF-8) with columns `file` and `class`.

    Args:
        content: of the table.
        where: what a message calls it.
        keys: the pictures, as the table names them.

    Raises:
        InputError: if it is no such table, or a file is named twice, not there, or left out.
    """
    try:
        lines = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        for column in ("file", "class"):
            if column not in (lines.fieldnames or ()):
                raise InputError(f"{where} has no column {column!r}; it needs file and class")
        rows = [(row["file"], row["class"]) for row in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} is not a table that can be read: {error}") from error
    there, found = set(keys), dict[str, str]()
    for file, name in rows:
        if file in found:
            raise InputError(f"{where} names {file!r} twice; a file has one class")
        if file not in there:
            raise InputError(f"{where} names {file!r}, but no such picture is there")
        found[file] = name
    for key in keys:
        if not found.get(key):
            raise InputError(f"{where} gives no class for {key!r}")
    return [found[key] for key in keys]


def ordered(names: Sequence[str]) -> list[str]:
    """The different names: by value where all are numbers, else by alphabet."""
    different = sorted(set(names))
    return sorted(different, key=int) if all(n.isdecimal() for n in different) else different
