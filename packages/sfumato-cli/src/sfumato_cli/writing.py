"""A folder of samples with its picture, whole or not there."""

from __future__ import annotations

__all__ = ["check", "write"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfumato import Batch, Domain, InputError

NOTE = "samples.json"


def check(out: Path) -> None:
    """Make sure that samples may be written to the folder `out`.

    Raises:
        InputError: it holds something else than earlier samples, or cannot be made.
    """
    from sfumato_train.folders import check_place

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; samples are written to a folder")
    if out.exists() and any(out.iterdir()) and not (out / NOTE).is_file():
        raise InputError(f"{out} holds files that are no samples of ours; name a new folder")
    check_place(out)


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
    from sfumato_train.files import write_json
    from sfumato_train.folders import placed

    check(out)
    picture = out.with_name(f"{out.name}.png")
    with placed(out, replace=True) as folder:
        domain.write(batch, folder, about)
        write_json(folder / NOTE, facts)
        domain.preview(batch, picture, about)
    return picture
