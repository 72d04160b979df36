"""Folders of models as others publish them: where they are, their configuration and weights."""

from __future__ import annotations

__all__ = ["config_of", "local", "weights_of", "whole"]

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError


def local(path: Path | str) -> Path:
    """The folder itself, or one of the hub once it is here.

    Raises:
        InputError: if it is neither.
    """
    if Path(path).exists():
        return Path(path)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(f"there is no folder {path}") from None
    try:
        return Path(snapshot_download(str(path)))
    except Exception as error:  # of names, of the net, of rights: the library has many kinds
        raise InputError(f"{path} is no folder, and none of the hub: {error}") from None


def config_of(folder: Path) -> Mapping[str, Any]:
    """The `config.json` of a folder.

    Raises:
        InputError: if there is none, or it holds no JSON object.
    """
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} has no config.json that can be read: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{folder / 'config.json'} holds no JSON object")
    return found


def weights_of(folder: Path) -> dict[str, Tensor]:
    """All tensors of safetensors, in one file or several, or of a file of torch.

    Nothing in it is run (`weights_only=True`).

    Raises:
        InputError: if there is no such file, or it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    old = folder / "pytorch_model.bin"
    try:
        if single.is_file():
            return load_file(single)
        if index.is_file():
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            if any(Path(name).name != name for name in names):
                raise InputError(f"{index} names files outside of its folder")
            parts = [load_file(folder / name) for name in sorted(names)]
            return {name: value for part in parts for name, value in part.items()}
        if old.is_file():
            found = torch.load(old, map_location="cpu", weights_only=True)
            if isinstance(found, dict) and all(isinstance(v, Tensor) for v in found.values()):
                return found
            raise InputError(f"{old} holds no table of weights")
    except InputError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"the weights of {folder} cannot be read: {error}") from None
    except Exception as error:  # of what weights_only=True refuses
        raise InputError(f"{old} is not loaded: {error}") from None
    raise InputError(f"{folder} has neither model.safetensors nor pytorch_model.bin")


def whole(path: Path | str, info: Mapping[str, Iterable[Any] | None]) -> None:
    """Raise `InputError` unless each weight of the model came from the file, and the other way.

    Args:
        path: of the model.
        info: `missing_keys`, `mismatched_keys` and `unexpected_keys`.
    """
    told: Sequence[tuple[str, str]] = (
        ("missing_keys", "has no weights for"),
        ("mismatched_keys", "has other shapes for"),
        ("unexpected_keys", "has left-over weights"),
    )
    for key, what in told:
        names = sorted(map(str, info.get(key) or ()))
        if names:
            some = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            raise InputError(f"{path} {what} {some}, so that it would not be the model it was")
