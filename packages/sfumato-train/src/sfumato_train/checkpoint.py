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
    "combined",
    "compare",
    "fill",
    "load",
    "names",
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
from .processes import ALONE, World

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
    compare(targets, {name: (v.shape, v.dtype) for name, v in values.items()}, where)
    for name, target in targets.items():
        target.copy_(values[name])


def compare(
    targets: Mapping[str, Tensor],
    found: Mapping[str, tuple[torch.Size, torch.dtype]],
    where: str,
) -> None:
    """Raise `InputError` unless names, shapes and kinds of number agree; `where` names the file."""
    missing, extra = sorted(targets.keys() - found.keys()), sorted(found.keys() - targets.keys())
    if missing or extra:
        told = [f"{len(missing)} missing ({_some(missing)})"] if missing else []
        told += [f"{len(extra)} unexpected ({_some(extra)})"] if extra else []
        raise InputError(
            f"{where} does not fit the model that its recipe builds: {', '.join(told)}"
        )
    for name, target in targets.items():
        if (target.shape, target.dtype) != found[name]:
            raise InputError(
                f"{where}: {name} is {_kind(*found[name])}, but the model that the recipe builds "
                f"has {_kind(target.shape, target.dtype)}"
            )


def load(path: Path, stem: str, targets: Mapping[str, Tensor]) -> None:
    """Fill tensors, whole or spread over processes, from one part of a checkpoint.

    Args:
        path: the folder of the checkpoint.
        stem: "model", "ema", "training".
        targets: from `collect`; where they are spread over processes, all of them call this.

    Raises:
        InputError: as `read` and `fill`.
    """
    folder = path / stem
    if not _spread(targets):
        fill(targets, read(path, stem), f"{folder}.safetensors")
        return
    from . import spread

    if folder.is_dir() and _facts(path)["format"] == FORMAT:
        compare(targets, spread.shapes(folder), f"{folder}")
        spread.load(targets, folder)
    else:
        values = read(path, stem)
        compare(targets, {k: (v.shape, v.dtype) for k, v in values.items()}, f"{folder}")
        spread.share(targets, values)


def _spread(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some are spread over processes: a `DTensor`, whose module is slow to import."""
    return any(hasattr(value, "full_tensor") for value in tensors.values())


def names(path: Path, stem: str) -> list[str]:
    """Names of the tensors in one part of a checkpoint; raises as `read` does."""
    if (path / stem).is_dir():
        from . import spread

        return list(spread.shapes(path / stem))
    return list(read(path, stem))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _kind(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"


def write(
    folder: Path,
    step: int,
    files: Mapping[str, Mapping[str, Tensor]],
    held_loss: float | None,
    keep: Keep,
    world: World = ALONE,
) -> Saved:
    """Write a checkpoint and then remove those that need not be kept.

    All files are written into a hidden folder beside it and reach the disk before that folder gets
    its name, so that a checkpoint that can be seen is complete. Tensors that are spread over
    processes become a folder of safetensors to which each process writes what it holds; all others
    are written by the first process.

    Args:
        folder: the `checkpoints/` folder; only one training may write to it.
        step: steps done.
        files: tensors by file stem.
        held_loss: validation loss, or None.
        keep: which checkpoints stay.
        world: the processes, all of which call this.

    Raises:
        OSError: if the disk is full or fails; what was half-written is removed.
    """
    path = folder / f"step-{step:06d}"
    beside = folder / f".{path.name}"
    if world.first:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
    world.wait()
    try:
        for stem, tensors in files.items():
            _write(beside / stem, tensors, world)
        world.wait()
        if world.first:
            facts = {"format": FORMAT, "step": step, "held_loss": held_loss, "files": sorted(files)}
            write_json(beside / "state.json", facts)
            if path.exists():  # of before a resume, or it could not be read
                _remove(path)
            os.replace(beside, path)
            sync(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if world.first:
        found = saved(folder)
        for old in set(found) - set(keep(found)):
            _remove(old.path)
    world.wait()
    return Saved(path, step, held_loss)


def _write(path: Path, tensors: Mapping[str, Tensor], world: World) -> None:
    """Write the tensors of one stem, as a file or, where they are spread, as a folder."""
    if _spread(tensors):
        from . import spread

        spread.save(tensors, path)
    elif world.first:
        on_host = {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in tensors.items()
        }
        file = path.with_name(f"{path.name}.safetensors")
        try:
            save_file(on_host, file)
        except SafetensorError as error:  # how it reports that the disk is full
            raise OSError(f"{file}: {error}") from error
        sync(file)


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
        tensors = _read_folder(path / stem) if (path / stem).is_dir() else load_file(file)
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


def combined(pieces: Sequence[tuple[Path, str, float]]) -> dict[str, Tensor]:
    """The weighted sum of parts of checkpoints, taken in float64; integers are those of the last.

    Args:
        pieces: folder of a checkpoint, part ("model", "ema") and weight of each.

    Raises:
        InputError: if they do not hold the same tensors, or as `read`.
    """
    path, stem, share = pieces[-1]
    last = read(path, stem)
    total = {k: v.double() * share for k, v in last.items() if v.is_floating_point()}
    for path, stem, share in pieces[:-1]:
        values = read(path, stem)
        compare(last, {name: (v.shape, v.dtype) for name, v in values.items()}, f"{path / stem}")
        for name, value in total.items():
            value.add_(values[name].double(), alpha=share)
    return {k: total[k].to(v.dtype) if k in total else v for k, v in last.items()}


def _read_folder(folder: Path) -> dict[str, Tensor]:
    from . import spread

    return spread.read(folder)
