"""Checkpoints: folders of safetensors and one JSON file, written whole or not at all.

`step-000100/` holds `model.safetensors`, `ema.safetensors` (where an average is kept),
`training.safetensors` (the rest of the objective, and the optimisers) and `state.json`.
"""

from __future__ import annotations

__all__ = [
    "FORMAT",
    "Keep",
    "Saved",
    "best",
    "collect",
    "fill",
    "load",
    "read",
    "saved",
    "tidy",
    "write",
]

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfumato import InputError

from .files import read_json, sync, write_json

FORMAT = 1
"""What this version writes; older ones are brought up to date by `MIGRATIONS`."""

Migration = Callable[[str, dict[str, Tensor]], dict[str, Tensor]]
MIGRATIONS: dict[int, Migration] = {}
"""From a format to the next: maps a file's stem ("model") and its tensors to the new ones."""

_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk.

    Attributes:
        path: its folder.
        step: steps that had been done.
        held_loss: validation loss, None where it was not measured.
    """

    path: Path
    step: int
    held_loss: float | None


@dataclass(frozen=True)
class Keep:
    """Which checkpoints outlive the next one: the last ones, and the best by validation loss.

    Attributes:
        last: how many of the newest.
        best: whether the best is kept as well.
    """

    last: int = 2
    best: bool = True

    def __call__(self, found: Sequence[Saved]) -> list[Saved]:
        """Those of `found` (ascending) that are kept."""
        kept = set(found[-self.last :])
        if self.best and (top := best(found)):
            kept.add(top)
        return [one for one in found if one in kept]


def best(found: Sequence[Saved]) -> Saved | None:
    """The checkpoint with the lowest validation loss, if any has one; the later of equals."""
    judged = [one for one in found if one.held_loss is not None]
    return min(judged, key=lambda one: (one.held_loss, -one.step), default=None)


def collect(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; what is shared is there once, first name first.

    Raises:
        InputError: if a module stores something that is not a tensor.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in module.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"{name} of the state is a {type(value).__name__}; checkpoints hold tensors only"
            )
        if id(value) not in seen:
            seen.add(id(value))
            found[name] = value
    return found


@torch.no_grad()
def fill(targets: Mapping[str, Tensor], values: Mapping[str, Tensor], where: str) -> None:
    """Copy `values` into `targets`; names, shapes and kinds of number must agree.

    Args:
        targets: from `collect`, of a module built for this purpose.
        values: from a file.
        where: names the file in errors.

    Raises:
        InputError: for missing or unexpected names, or another shape or dtype.
    """
    missing, extra = sorted(targets.keys() - values.keys()), sorted(values.keys() - targets.keys())
    if missing or extra:
        told = [f"{len(missing)} missing ({_some(missing)})"] if missing else []
        told += [f"{len(extra)} unexpected ({_some(extra)})"] if extra else []
        raise InputError(
            f"{where} does not fit the model that its recipe builds: {', '.join(told)}"
        )
    for name, target in targets.items():
        value = values[name]
        if value.shape != target.shape or value.dtype != target.dtype:
            raise InputError(
                f"{where}: {name} is {_kind(value)}, but the model that the recipe builds has "
                f"{_kind(target)}"
            )
        target.copy_(value)


def load(path: Path, stem: str, module: nn.Module) -> None:
    """Fill a module from one file of a checkpoint; raises as `read` and `fill`."""
    fill(collect(module), read(path, stem), f"{path / stem}.safetensors")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"


def write(
    folder: Path,
    step: int,
    files: Mapping[str, Mapping[str, Tensor]],
    held_loss: float | None,
    keep: Keep,
) -> Saved:
    """Write a checkpoint and then remove those that need not be kept.

    All files are written into a hidden folder beside it and reach the disk before that folder gets
    its name, so that a checkpoint that can be seen is complete.

    Args:
        folder: the `checkpoints/` folder; only one process may write to it.
        step: steps done.
        files: tensors by file stem.
        held_loss: validation loss, or None.
        keep: which checkpoints stay.
    """
    path = folder / f"step-{step:06d}"
    beside = folder / f".{path.name}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for stem, tensors in files.items():
            on_host = {
                name: value.detach().to("cpu", copy=True).contiguous()
                for name, value in tensors.items()
            }
            save_file(on_host, beside / f"{stem}.safetensors")
            sync(beside / f"{stem}.safetensors")
        facts = {"format": FORMAT, "step": step, "held_loss": held_loss, "files": sorted(files)}
        write_json(beside / "state.json", facts)
        if path.exists():  # only one that could not be read, or training would be past it
            _remove(path)
        os.replace(beside, path)
        sync(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    found = saved(folder)
    for old in set(found) - set(keep(found)):
        _remove(old.path)
    return Saved(path, step, held_loss)


def tidy(folder: Path) -> None:
    """Remove what a killed process left unfinished."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path)


def _remove(path: Path) -> None:
    """Remove a checkpoint so that no half of it can ever be seen."""
    hidden = path.with_name(f".{path.name}.old")
    os.replace(path, hidden)
    shutil.rmtree(hidden)


def saved(folder: Path) -> list[Saved]:
    """The checkpoints in a folder, ascending by step.

    Raises:
        InputError: if one was written by a newer sfumato, or its `state.json` is damaged.
    """
    found = []
    for path in folder.glob("step-*"):
        if _NAME.fullmatch(path.name):
            facts = _facts(path)
            found.append(Saved(path, facts["step"], facts["held_loss"]))
    return sorted(found, key=lambda one: one.step)


def _facts(path: Path) -> dict[str, Any]:
    facts = read_json(path / "state.json")
    written = facts.get("format")
    if not isinstance(written, int) or not {"step", "held_loss", "files"} <= facts.keys():
        raise InputError(f"{path / 'state.json'} is not the state of a checkpoint")
    if written > FORMAT:
        raise InputError(
            f"{path} has checkpoint format {written}, which is newer than the {FORMAT} that this "
            "sfumato reads; update sfumato"
        )
    return facts


def read(path: Path, stem: str) -> dict[str, Tensor]:
    """The tensors of one file of a checkpoint, brought to the present format, on the CPU.

    Raises:
        InputError: if the file is missing, truncated or not safetensors, or the checkpoint was
            written by a newer sfumato.
    """
    file = path / f"{stem}.safetensors"
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise InputError(f"{file} is missing; the checkpoint is not complete") from None
    except SafetensorError as error:
        raise InputError(
            f"{file} is truncated or no safetensors file ({error}); remove {path} to use the "
            "checkpoint before it"
        ) from error
    for version in range(_facts(path)["format"], FORMAT):
        tensors = MIGRATIONS[version](stem, tensors)
    return tensors
