"""A new plugin: a package of its own, written from the template, that works at once.

The template is the folder `template/`: files `*.tmpl` are rendered with `string.Template`, others
are copied, and the folder `package` gets the name of the module.
"""

from __future__ import annotations

__all__ = ["new_plugin"]

import os
import re
import shutil
import string
from importlib.util import find_spec
from pathlib import Path

import sfumato
from sfumato import InputError

NAME = re.compile(r"(?=.{1,30}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
TEMPLATE = Path(__file__).with_name("template")


def new_plugin(name: str, out: Path | None = None) -> Path:
    """Write the package `sfumato-NAME`, whole or not at all.

    Args:
        name: of the plugin, and the prefix of what it announces.
        out: its folder, new or empty; None: `sfumato-NAME` in the current folder.

    Returns:
        The folder.

    Raises:
        InputError: the name is not one, or is taken by what is installed; or the folder holds
            something, is the current one, or cannot be made.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a plugin: it takes at most 30 lower-case letters and "
            "digits, words joined by '-', such as wind or sea-ice"
        )
    if name.startswith("sfumato-"):
        short = name.removeprefix("sfumato-")
        raise InputError(f"name it {short!r}: the package is called {name} without being told")
    distribution, module = f"sfumato-{name}", f"sfumato_{name.replace('-', '_')}"
    _check_free(name, module)
    folder = Path(distribution) if out is None else out
    _check_place(folder)
    major, minor, *_ = map(int, sfumato.__version__.split("."))
    words = {
        "name": name,
        "distribution": distribution,
        "module": module,
        "versions": f">={major}.{minor},<{major}.{minor + 1}",
    }
    beside = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}")
    try:
        _render(beside, words)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _check_free(name: str, module: str) -> None:
    found = sfumato.registry()
    owners = {one.name: one.distribution for one in found.broken}
    owners |= {one.name: one.distribution for one in found.plugins}
    if name in owners:
        raise InputError(f"the plugin name {name!r} is taken by {owners[name]}")
    if find_spec(module) is not None:
        raise InputError(f"the name {name!r} is taken: a module {module} is installed")


def _check_place(folder: Path) -> None:
    if folder.absolute() == Path.cwd():
        raise InputError("the current folder cannot be replaced; name a new one")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} is there already; name a new folder with --out")


def _render(folder: Path, words: dict[str, str]) -> None:
    for source in sorted(TEMPLATE.rglob("*")):
        parts = source.relative_to(TEMPLATE).parts
        target = folder.joinpath(*(words["module"] if p == "package" else p for p in parts))
        if source.is_dir() or "__pycache__" in parts:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".tmpl":
            text = string.Template(source.read_text(encoding="utf-8")).substitute(words)
            target.with_suffix("").write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(source, target)
