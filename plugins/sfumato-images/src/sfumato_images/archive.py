"""A zip of pictures, read without being unpacked; what could do harm is refused by its name."""

from __future__ import annotations

__all__ = ["Entry", "entries"]

import io
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from sfumato import InputError
from sfumato_data.archives import escapes

from .guards import said

LARGEST = 1 << 29
"""Most bytes of an entry: a picture of the most pixels that are accepted, at 16 bits."""

RATIO, FREE = 200, 1 << 24
"""An archive, and each entry of it, unpacks to at most `RATIO` times its size and `FREE` bytes."""

_PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others reserve what memory they are told to
_NESTED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True, eq=False)
class Entry:
    """A file in an archive; several threads may read at a time."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def __str__(self) -> str:
        return f"{self.info.filename!r} in {self.archive.filename}"

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """Its content, whole and checked; see `files.File`."""
        try:
            return io.BytesIO(self.archive.read(self.info))
        except Exception as error:
            raise InputError(f"{self} is damaged: {said(error)}") from error


def entries(path: Path) -> Mapping[str, Entry]:
    """The files in a zip by name, sorted; without a folder that holds all, and hidden ones.

    Raises:
        InputError: if it is no zip, or an entry leads outside of it, is encrypted, a link, an
            archive itself, there twice, or unpacks to too much; names the entry.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory makes zipfile raise almost anything
        raise InputError(f"{path} cannot be read as a zip: {said(error)}") from error
    found: dict[str, Entry] = {}
    for info in archive.infolist():
        if info.filename.endswith("/"):
            continue
        _check(info, path)
        parts = info.filename.split("/")
        if any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX":
            continue
        if info.filename in found:
            raise InputError(f"{path} holds {info.filename!r} twice")
        found[info.filename] = Entry(archive, info)
    _bounded(path, sum(entry.info.file_size for entry in found.values()), path.stat().st_size)
    tops = {name.partition("/")[0] if "/" in name else "" for name in found}
    top = f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""
    return {name.removeprefix(top): found[name] for name in sorted(found, key=_parts)}


def _parts(name: str) -> list[str]:
    return name.split("/")


def _check(info: zipfile.ZipInfo, path: Path) -> None:
    name = f"{path} holds {info.filename!r}, which"
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the maker left it out
    if not info.filename:
        raise InputError(f"{path} holds an entry without a name; the archive is refused")
    if escapes(info.filename):
        raise InputError(f"{name} leads outside of its folder; the archive is refused")
    if info.flag_bits & 1:
        raise InputError(f"{name} is encrypted; unpack it with its password first")
    if kind not in (0, stat.S_IFREG):
        raise InputError(f"{name} is a link or a device; the archive is refused")
    if info.filename.lower().endswith(_NESTED):
        raise InputError(f"{name} is an archive itself; unpack the outer one first")
    if info.compress_type not in _PLAIN:
        raise InputError(f"{name} is packed by method {info.compress_type}; deflate is accepted")
    if info.file_size > LARGEST:
        raise InputError(f"{name} unpacks to {info.file_size} bytes, more than {LARGEST}")
    _bounded(f"{info.filename!r} in {path}", info.file_size, info.compress_size)


def _bounded(what: object, unpacked: int, packed: int) -> None:
    if unpacked > RATIO * packed + FREE:
        raise InputError(
            f"{what} unpacks from {packed} to {unpacked} bytes, more than {RATIO} times as many; "
            "it is refused"
        )
