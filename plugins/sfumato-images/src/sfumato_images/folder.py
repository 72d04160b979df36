"""Pictures in a folder or a zip: which there are, what they are called, and their classes."""

from __future__ import annotations

__all__ = ["Found", "in_archive", "in_folder"]

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sfumato import InputError

from . import labels
from .archive import entries
from .files import SUFFIXES, File


@dataclass(frozen=True)
class Found:
    """Picture files.

    Attributes:
        files: the files, in the order of their paths.
        keys: where each stands in the folder or archive, `cat/0.png`.
        names: the class of each; None where they have none.
    """

    files: Sequence[File]
    keys: Sequence[str]
    names: Sequence[str] | None


def in_folder(root: Path) -> Found:
    """The pictures below a folder; links are followed, each folder is entered once.

    Raises:
        InputError: if a folder cannot be read, or the table of classes is wrong.
    """
    files = _walk(root)
    keys = [file.relative_to(root).as_posix() for file in files]
    return _found(dict(zip(keys, files, strict=True)), root / labels.LABELS)


def in_archive(path: Path, under: str = "") -> Found:
    """The pictures in a zip, or in a folder of it whose name `under` ends with a slash.

    Raises:
        InputError: if the archive is refused (see `archive.entries`), or the table of classes is
            wrong.
    """
    inside = {
        name.removeprefix(under): entry
        for name, entry in entries(path).items()
        if name.startswith(under)
    }
    files: dict[str, File] = {name: inside[name] for name in inside if _is_picture(name)}
    return _found(files, inside.get(labels.LABELS))


def _found(files: Mapping[str, File], table: File | None) -> Found:
    keys = list(files)
    content = None if table is None or not keys else _content(table)
    names = labels.class_names(keys) if content is None else labels.table(content, table, keys)
    return Found(list(files.values()), keys, names)


def _content(table: File) -> bytes | None:
    try:
        with table.open("rb") as file:
            content = file.read(labels.LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{table} cannot be read: {error.strerror}") from error
    if len(content) > labels.LARGEST:
        raise InputError(f"{table} has more than {labels.LARGEST} bytes")
    return content


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _walk(root: Path) -> list[Path]:
    def unreadable(error: OSError) -> NoReturn:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error

    found: list[Path] = []
    entered: set[str] = set()
    for folder, inner, names in os.walk(root, followlinks=True, onerror=unreadable):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if os.path.realpath(folder) in entered:
            inner.clear()
            continue
        entered.add(os.path.realpath(folder))
        found += [Path(folder, n) for n in names if _is_picture(n) and not n.startswith(".")]
    return sorted(found, key=lambda file: file.relative_to(root).parts)
