"""A folder of samples, or one file of them, with its picture, whole or not there."""

from __future__ import annotations

__all__ = ["OneFile", "check", "is_file", "write"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sfumato import Batch, Domain, InputError

NOTE = "samples.json"


@runtime_checkable
class OneFile(Protocol):
    """What a domain adds whose `write` also takes the path of a file, for all samples."""

    suffixes: Sequence[str]


def is_file(domain: Domain, out: Path) -> bool:
    """Whether samples that are written to `out` are one file."""
    return isinstance(domain, OneFile) and out.suffix in domain.suffixes and not out.is_dir()


def check(out: Path, domain: Domain | None = None) -> None:
    """Make sure that samples may be written to the folder `out`, or the file that it names.

    Raises:
        InputError: it holds something else than earlier samples, or cannot be made.
    """
    from sfumato_train.folders import check_place

    if domain is not None and is_file(domain, out):
        if out.exists():
            raise InputError(f"{out} exists already; name a new file, or take it away first")
        check_place(out)
        return
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; samples are written to a folder")
    if out.exists() and any(out.iterdir()) and not (out / NOTE).is_file():
        raise InputError(f"{out} holds files that are no samples of ours; name a new folder")
    check_place(out)


def write(
    domain: Domain, batch: Batch, about: Mapping[str, Any], out: Path, facts: Mapping[str, Any]
) -> Path:
    """Write samples in the files of their domain to `out`, in place of earlier ones.

    In the folder `samples.json` says how they were made; `out` with `.png` appended shows them.

    Returns:
        The picture.

    Raises:
        InputError: see `check`.
    """
    from sfumato_train.files import write_json
    from sfumato_train.folders import placed

    check(out, domain)
    picture = out.with_name(f"{out.name}.png")
    if is_file(domain, out):
        out.parent.mkdir(parents=True, exist_ok=True)
        domain.write(batch, out, about)
        return domain.preview(batch, picture, about)
    with placed(out, replace=True) as folder:
        domain.write(batch, folder, about)
        write_json(folder / NOTE, facts)
        domain.preview(batch, picture, about)
    return picture
