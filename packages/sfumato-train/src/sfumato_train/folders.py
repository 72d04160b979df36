"""Folders that appear whole or not at all, and places where none can be made."""

from __future__ import annotations

__all__ = ["check_place", "placed", "swept"]

import errno
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfumato import InputError


def check_place(path: Path) -> None:
    """Make sure that a folder can be made at `path`, missing ones above it included.

    Raises:
        InputError: if not, with the cause.
    """
    near = path.absolute().parent
    try:
        while not near.exists():
            near = near.parent
        with tempfile.TemporaryDirectory(prefix=".sfumato-", dir=near):
            pass
    except OSError as error:
        raise InputError(
            f"{path} cannot be made: {near} takes no new folder ({error.strerror})"
        ) from None


@contextmanager
def placed(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A hidden folder beside `path`, which gets that name when the block ends without an error.

    Args:
        path: the name; folders above it are made.
        replace: put it in the place of an earlier folder; else an earlier one stays, and what was
            written is dropped.

    Raises:
        InputError: if the folder cannot be made.
    """
    # hosts that share a disk may write the same folder, hence their name
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    old = beside.with_name(f"{beside.name}.old")
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{path} cannot be made ({error.strerror})") from None
    try:
        yield beside
        if replace and path.exists():
            path.rename(old)
        try:
            beside.rename(path)
        except OSError as error:
            if replace or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def swept(parent: Path, name: str) -> None:
    """Remove what killed processes of this machine left of folders to be placed.

    What one had put away to replace it stays: it may be all there is.

    Args:
        parent: where they were to stand.
        name: theirs, or a pattern of it.
    """
    for left in parent.glob(f".{name}.{socket.gethostname()}.*"):
        process = left.name.rpartition(".")[2]
        if process.isdecimal() and not _lives(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _lives(process: int) -> bool:
    if sys.platform == "win32":
        return True  # asking would end it
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
