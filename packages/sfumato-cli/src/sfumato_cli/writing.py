"""Samples with their picture, as a folder or as one file, whole or not there."""

from __future__ import annotations

__all__ = ["InFiles", "check", "drawing", "facts", "is_file", "write"]

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sfumato import Batch, Domain, InputError

if TYPE_CHECKING:
    from sfumato import Model
    from sfumato_train import Run
    from sfumato_train.jobs import Asked

NOTE = "samples.json"


@runtime_checkable
class InFiles(Protocol):
    """A domain that also writes all samples to one file: graphs, molecules, texts."""

    suffixes: Collection[str]
    """Of the files that its `write` takes as `path`, such as `.graphml`."""


def check(domain: Domain, out: Path) -> None:
    """Make sure that samples may be written to `out`.

    Raises:
        InputError: it holds something else than earlier samples, or cannot be made.
    """
    from sfumato_train.folders import check_place

    if is_file(domain, out):
        if out.exists():
            raise InputError(f"{out} exists already; name a new file, or take it away first")
        check_place(out)
        return
    if out.exists() and not out.is_dir():
        files = (
            f", or to a file {', '.join(domain.suffixes)}" if isinstance(domain, InFiles) else ""
        )
        raise InputError(f"{out} is a file; samples are written to a folder{files}")
    if out.exists() and any(out.iterdir()) and not (out / NOTE).is_file():
        raise InputError(f"{out} holds files that are no samples of ours; name a new folder")
    check_place(out)


def is_file(domain: Domain, out: Path) -> bool:
    """Whether all samples go to one file."""
    return isinstance(domain, InFiles) and out.suffix.lower() in domain.suffixes


def write(
    domain: Domain, batch: Batch, about: Mapping[str, Any], out: Path, facts: Mapping[str, Any]
) -> Path:
    """Write samples in the files of their domain to the folder `out`, in place of earlier ones.

    Beside the samples `samples.json` says how they were made; `out` with `.png` appended shows
    them. Where `out` is a file of a domain that takes one, it holds all samples; where one cannot
    hold several, they stand beside each other, numbered by the domain.

    Returns:
        The picture.

    Raises:
        InputError: see `check`.
    """
    from sfumato_train.files import write_json
    from sfumato_train.folders import placed

    check(domain, out)
    picture = out.with_name(f"{out.name}.png")
    if is_file(domain, out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".sfumato-", dir=out.parent) as beside:
            for made in domain.write(batch, Path(beside) / out.name, about):
                os.replace(made, out.parent / made.name)
        return domain.preview(batch, picture, about)
    with placed(out, replace=True) as folder:
        domain.write(batch, folder, about)
        write_json(folder / NOTE, facts)
        domain.preview(batch, picture, about)
    return picture


def drawing(asked: Asked) -> dict[str, Any]:
    """How samples are drawn, as `sfumato_train.draw` takes it."""
    names = ("sampler", "grid", "steps", "seed", "guidance")
    return {name: getattr(asked, name) for name in names}


def facts(run: Run, asked: Asked, model: Model, n: int) -> dict[str, Any]:
    """How n samples were made, for `samples.json`: what was not asked for as the model has it."""
    own = {"sampler": asked.sampler or repr(model.sampler), "steps": asked.steps or model.steps}
    told = {"run": str(run.path), "n": n, **drawing(asked), "condition": asked.condition}
    return told | own
