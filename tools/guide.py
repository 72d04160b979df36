"""Follow "A plugin in five minutes" word for word, in an environment that holds nothing before.

Every command of the page runs as written, in one shell, in a folder outside the repository. What is
not on the page is what a machine is set up with: where wheels are found (those of our packages,
built here, beside what pip is configured with), which Python, and which build of torch.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from readme_blocks import SHELL, blocks
from workspace import ROOT, distributions

__all__ = ["GUIDE", "built", "follow", "machine", "words"]

GUIDE = ROOT / "packages/sfumato-testing/PLUGIN.md"


def words(page: str) -> int:
    """How many words a page has, code included."""
    return len(page.split())


def built(folder: Path) -> Path:
    """Build the wheels of all our packages, not those of plugins, into a folder."""
    for each in distributions():
        if not each.is_plugin:
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", folder],
                cwd=each.folder,
                capture_output=True,
                check=True,
            )
    return folder


def machine(wheels: Path, home: Path) -> dict[str, str]:
    """The environment of a shell that has uv and a Python, and in which uv finds our wheels.

    Args:
        wheels: the folder that `built` filled.
        home: a folder for links to uv and to the Python that is to be used, first on PATH.
    """
    ours = Path(sys.prefix) / "bin"
    home.mkdir(parents=True, exist_ok=True)
    (home / "uv").symlink_to(ours / "uv")
    (home / "python3").symlink_to(Path(sys.base_prefix) / "bin/python3")
    path = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(
            ("PYTHON", "PYTEST", "SFUMATO", "UV_PYTHON", "UV_SYSTEM", "VIRTUAL_ENV")
        )
    }
    links = [*_pip_setting("find-links"), str(wheels)]
    kept |= {
        "PATH": os.pathsep.join([str(home), *(part for part in path if Path(part) != ours)]),
        "UV_FIND_LINKS": ",".join(links),
        "UV_CONSTRAINT": str(ROOT / "tools/constraints.txt"),
        "OMP_NUM_THREADS": "1",
    }
    index = _pip_setting("index-url")
    return kept | ({"UV_DEFAULT_INDEX": index[0]} if index else {})


def _pip_setting(name: str) -> list[str]:
    """One of pip's settings, from its files or the environment; uv does not read these."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    found = re.findall(rf"^\S*\.{name}='(.*)'$", done.stdout, flags=re.MULTILINE)
    return found[0].replace("\\n", " ").split() if found else []


def follow(
    folder: Path, environment: dict[str, str], last: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the commands of the page, in order, in one shell that stops at the first failure.

    Each command is shown on standard error before it runs, behind `$`.

    Args:
        folder: where.
        environment: see `machine`.
        last: the command to stop after; None: all run.
    """
    found = blocks(GUIDE.read_text(encoding="utf-8"))
    lines = [line for one in found if one.language in SHELL for line in one.code.splitlines()]
    if last is not None:
        lines = lines[: lines.index(last) + 1]
    shown = [f"echo {shlex.quote('$ ' + line)} >&2\n{line}" for line in lines]
    return subprocess.run(
        ["bash", "-c", "\n".join(["set -euo pipefail", *shown])],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
