"""Files that are whole or not there: a folder of samples with its picture, a table."""

from __future__ import annotations

__all__ = ["check", "write", "write_text"]

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfumato import Batch, Domain, InputError

NOTE = "samples.json"


def check(out: Path) -> None:
    """Make sure that samples may be written to the folder `out`.

    Raises:
        InputError: it holds something else than earlier samples.
    """
    if not out.exists() or (out / NOTE).is_file():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; samples are written to a folder")
    if any(out.iterdir()):
        raise InputError(f"{out} holds files that are no samples of ours; name a new folder")


def write(
    domain: Domain, batch: Batch, about: Mapping[str, Any], out: Path, facts: Mapping[str, Any]
) -> Path:
    """Write samples in the files of their domain to `out`, in place of earlier ones.

    Beside the samples `samples.json` says how they were made; `out` with `.png` appended shows
    them.

    Returns:
        The picture.

    Raises:
        InputError: see `check`.
    """
    check(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    picture = out.with_name(f"{out.name}.png")
    try:
        beside.mkdir()
        domain.write(batch, beside, about)
        (beside / NOTE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        domain.preview(batch, picture, about)
        if out.exists():
            out.rename(old)
        beside.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return picture


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
