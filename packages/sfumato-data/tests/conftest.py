"""A registry of the test's own: fake clients on PATH, a folder of wheels, a cache to fill."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

from sfumato_data import Source

FILES = {"data/a.txt": b"alpha\n" * 100, "data/b.txt": b"beta\n", "other/c.txt": b"not wanted"}
WANTED = {name: content for name, content in FILES.items() if name.startswith("data/")}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(path: Path, files=FILES, root="box/") -> Path:
    """A wheel that pip accepts, with files below `root`; a ZipInfo may stand for a name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(root + name if isinstance(name, str) else name, content)
        about = "Metadata-Version: 2.1\nName: box\nVersion: 1.0\n"
        archive.writestr("box-1.0.dist-info/METADATA", about)
        archive.writestr("box-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("box-1.0.dist-info/RECORD", "")
    return path


def tar(path: Path, files=FILES, root="./box/", mode="w:gz", extra=()) -> Path:
    """A tar with files below `root` and whatever else is given as TarInfo."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(root + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return path


def source(registry="pypi", **changes) -> Source:
    """What `wheel` and `tar` hold, as it should be described."""
    values = {
        "registry": registry,
        "package": "box",
        "version": "1.0",
        "root": "box",
        "members": {name: sha(content) for name, content in WANTED.items()},
        "size": sum(map(len, WANTED.values())),
        "license": "MIT",
        "what": "two files",
    }
    return Source(**(values | changes))


class Desk:
    """The folder of a test: where wheels are found, programs are put, and the cache is."""

    files, wanted = FILES, WANTED
    sha, source, tar, zip = map(staticmethod, (sha, source, tar, wheel))

    def __init__(self, path: Path):
        self.path, self.wheels, self.bin = path, path / "wheels", path / "bin"
        self.cache = path / "cache" / "data"
        self.wheels.mkdir()
        self.bin.mkdir()

    def wheel(self, **options) -> Path:
        return wheel(self.wheels / "box-1.0-py3-none-any.whl", **options)

    def npm(self, **options) -> Source:
        """A tarball and an `npm` that packs it; returns its description."""
        archive = tar(self.path / "box-1.0.tgz", **options)
        self.program("npm", f"shutil.copy({str(archive)!r}, '.')")
        return source("npm", archive=sha(archive.read_bytes()))

    def debian(self, **options) -> Source:
        """A package, an `apt-get` that downloads it and a `dpkg-deb` that opens it."""
        archive = tar(self.path / "box_1.0_all.deb", mode="w", **options)
        self.program("apt-get", f"shutil.copy({str(archive)!r}, '.')")
        self.program("dpkg-deb", "sys.stdout.buffer.write(open(sys.argv[2], 'rb').read())")
        return source("debian")

    def program(self, name: str, body: str):
        """A program; it notes its words in `calls` first."""
        path = self.bin / name
        head = f"#!{sys.executable}\nimport os, shutil, sys, time\n"
        note = f"open({str(self.path / 'calls')!r}, 'a').write(' '.join(sys.argv) + '\\n')\n"
        path.write_text(head + note + textwrap.dedent(body))
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return (self.path / "calls").read_text().splitlines()

    def left(self) -> list[str]:
        """What is in the cache besides locks."""
        return sorted(p.name for p in self.cache.glob("*") if not p.name.endswith(".lock"))


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Desk:
    found = Desk(tmp_path)
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{found.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(found.wheels))
    return found
