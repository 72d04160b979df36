"""Captions that lie beside pictures: in a table of their folder, or in a text file each."""

from __future__ import annotations

__all__ = ["TABLES", "find", "read_text"]

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfumato import InputError

TABLES = ("captions.csv", "captions.jsonl")

_FILE = 1 << 28  # bytes of the largest table of captions that is read


def read_text(path: Path) -> str:
    """A text file in UTF-8, of at most 256 MiB.

    Raises:
        InputError: if it cannot be read, is larger or is no such text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FILE + 1)
        if len(content) > _FILE:
            raise InputError(f"{path} has more than {_FILE} bytes; that many are not read")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from None


def find(root: Path, files: Sequence[str]) -> list[str] | None:
    """The captions of pictures, if there are any; every picture has one, or none has.

    They stand in `captions.csv` or `captions.jsonl` in the folder, with `file` and `text`, or each
    in a `.txt` file beside its picture.

    Args:
        root: the folder.
        files: the pictures, relative to it.

    Raises:
        InputError: for a table that cannot be read, or a picture without caption; names the file.
    """
    tables = [root / name for name in TABLES if (root / name).is_file()]
    if len(tables) > 1:
        raise InputError(f"{root} holds both {' and '.join(TABLES)}; leave one")
    if tables:
        return _of_table(tables[0], files)
    beside = [root / Path(file).with_suffix(".txt") for file in files]
    there = [path.is_file() for path in beside]
    if not any(there):
        return None
    if not all(there):
        raise InputError(f"{beside[there.index(False)]} is missing: other pictures have captions")
    return [_told(" ".join(read_text(path).split()), path) for path in beside]


def _of_table(path: Path, files: Sequence[str]) -> list[str]:
    found: dict[str, str] = {}
    for number, row in enumerate(_rows(path), start=1):
        file, text = row.get("file"), row.get("text")
        if not isinstance(file, str) or not isinstance(text, str):
            raise InputError(f"row {number} of {path} has no file and text")
        if file in found:
            raise InputError(f"{path} gives two captions for {file}")
        found[file] = " ".join(text.split())
    for file in files:
        if file not in found:
            raise InputError(f"{path} gives no caption for {file}")
    return [_told(found[file], f"the caption of {file} in {path}") for file in files]


def _told(text: str, what: object) -> str:
    if not text:
        raise InputError(f"{what} is empty")
    return text


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    lines = read_text(path).splitlines()
    if path.suffix == ".csv":
        try:
            yield from csv.DictReader(lines)
        except csv.Error as error:
            raise InputError(f"{path} is not a table that can be read: {error}") from None
        return
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"line {number} of {path} is not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"line {number} of {path} is not an object with file and text")
        yield row
