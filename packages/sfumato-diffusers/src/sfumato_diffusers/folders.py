"""Folders and repositories of diffusers, looked through before anything is loaded from them."""

from __future__ import annotations

__all__ = ["fetch"]

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sfumato import InputError

_LIBRARIES = ("diffusers", "transformers", "sfumato_diffusers.scheduler")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def fetch(
    source: Path | str,
    *,
    dtype: torch.dtype | None,
    revision: str | None,
    variant: str | None,
    offline: bool | None,
) -> Any:
    """The pipeline at a source, or the network where it holds but one; see `models.load`.

    Weights are read from safetensors files only, and a network with a missing weight is refused.
    """
    folder = Path(source)
    local = folder.is_dir()
    if local:
        source = folder
        _look_through(folder)
    elif not _REPOSITORY.fullmatch(str(source)):
        raise InputError(
            f"{source} is neither a folder nor the name of a repository, such as owner/name"
        )
    options = {
        "local_files_only": local if offline is None else offline,
        "revision": revision,
        "variant": variant,
        "torch_dtype": dtype,
        "use_safetensors": True,
        "low_cpu_mem_usage": False,  # without accelerate there is no other way
    }
    options = {name: value for name, value in options.items() if value is not None}
    try:
        if local and not (folder / "model_index.json").is_file():
            facts = _json(folder / "config.json")
            kind = _class("diffusers", facts.get("_class_name"), folder / "config.json")
            return _network(kind, source, **options)
        return _pipeline(source, options)
    except InputError:
        raise
    except Exception as error:  # diffusers and the hub raise of every kind
        where = "from the hub " if not local else ""
        raise InputError(f"{source} cannot be loaded {where}({_told(error)})") from error


def _pipeline(source: Path | str, options: Mapping[str, Any]) -> Any:
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    wanted = ("local_files_only", "revision")
    index = kind.load_config(source, **{name: options[name] for name in wanted if name in options})
    _class("diffusers", index.get("_class_name"), f"the model_index.json of {source}")
    networks = {
        name: _network(part, source, subfolder=name, **options)
        for name, part in _components(index, f"the model_index.json of {source}").items()
        if _is_network(part)
    }
    return kind.from_pretrained(source, **networks, **options)


def _network(kind: Any, source: Path | str, **options: Any) -> Any:
    """A network of diffusers, all of whose weights were found."""
    network, found = kind.from_pretrained(source, output_loading_info=True, **options)
    missing = sorted(found["missing_keys"])
    if missing:
        place = "/".join(str(part) for part in (source, options.get("subfolder")) if part)
        raise InputError(
            f"{place} lacks {len(missing)} weights of a {kind.__name__}, the first of them "
            f"{missing[0]}"
        )
    return network


def _is_network(kind: Any) -> bool:
    from diffusers import ModelMixin

    return isinstance(kind, type) and issubclass(kind, ModelMixin)


def _look_through(folder: Path) -> None:
    """Raise `InputError` if the files that a pipeline or network needs are not all there."""
    index = folder / "model_index.json"
    if not index.is_file():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{folder} holds no model of diffusers: it has neither a model_index.json (of a "
                "pipeline) nor a config.json (of a network)"
            )
        _has_weights(folder)
        return
    for name in _components(_json(index), index):
        part = folder / name
        if not part.is_dir():
            raise InputError(f"{index} names the part {name}, but there is no folder {part}")
        if (part / "config.json").is_file():  # schedulers and tokenizers have files of other names
            _has_weights(part)
        elif not any(part.glob("*.json")):
            raise InputError(f"{part} has no configuration: a config.json is missing")


def _has_weights(part: Path) -> None:
    if any(part.glob("*.safetensors")):
        return
    pickled = next((file for pattern in _PICKLED for file in part.glob(pattern)), None)
    if pickled is not None:
        raise InputError(
            f"{part} has its weights pickled ({pickled.name}), and a pickle can run any code; "
            "save them as safetensors: save_pretrained(..., safe_serialization=True)"
        )
    raise InputError(f"{part} has no weights: a .safetensors file is missing")


def _components(index: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The classes of the parts of a pipeline, those left out by it not among them."""
    return {
        name: _class(value[0], value[1], where)
        for name, value in index.items()
        if isinstance(value, list | tuple) and len(value) == 2 and value[0] is not None
    }


def _class(library: str, name: Any, where: object) -> Any:
    """A class by the names in a configuration; nothing is imported that a folder brings along."""
    import importlib

    import diffusers

    home: Any = None
    if library in _LIBRARIES:
        home = importlib.import_module(library)
    elif hasattr(diffusers.pipelines, library):  # classes that live beside a pipeline
        home = getattr(diffusers.pipelines, library)
    found = getattr(home, str(name), None)
    if found is not None:
        return found
    what = "scheduler" if str(name).endswith("Scheduler") else "class"
    raise InputError(
        f"{where} names the unknown {what} {name} of {library}; accepted are classes of "
        f"diffusers {diffusers.__version__} and transformers"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no JSON file ({_told(error)})") from None
    if not isinstance(facts, dict):
        raise InputError(f"{path} is no configuration of diffusers")
    return facts


def _told(error: BaseException) -> str:
    """The first line of an error, of its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
