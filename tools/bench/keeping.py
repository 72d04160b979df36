"""Numbers of a bench that are kept in a folder, so that a run that was stopped goes on."""

from __future__ import annotations

__all__ = ["kept"]

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sfumato_train.files import make_folder, read_json, write_json


def kept(
    out: Path | None, name: str, sizes: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The numbers `out/NAME.json` holds, measured unless they are there.

    Args:
        out: a folder; None: nothing is kept.
        name: of what is measured.
        sizes: what the numbers depend on.
        measure: makes them.

    Raises:
        SystemExit: if the folder holds numbers of other sizes.
    """
    path = None if out is None else out / f"{name}.json"
    if path is not None and path.exists():
        there = read_json(path)
        if there["sizes"] != sizes:
            raise SystemExit(f"{path} is of {there['sizes']}, not of {sizes}; name another folder")
        return dict(there["measured"])
    found = measure()
    if path is not None:
        make_folder(path.parent)
        write_json(path, {"sizes": sizes, "measured": found})
    return found
