"""What a model of pairs is to restore: pictures as the sources that it was trained with."""

from __future__ import annotations

__all__ = ["Sources", "read"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato_data import groups_of, keys_of
from sfumato_train.pinning import SOURCE

from . import data, degrading, pairs
from .files import SUFFIXES, header
from .fitting import told
from .folder import Found, in_archive, in_folder


@dataclass(frozen=True, eq=False)
class Sources:
    """A `Dataset` of what is to be restored.

    Attributes:
        origin: pairs, or pictures that are sources themselves.
        names: what to call the restorations; None: by their numbers.
        condition: further conditions, of all of them.
    """

    origin: Dataset
    names: Sequence[str] | None
    condition: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def about(self) -> Mapping[str, Any]:
        """The facts of the pictures."""
        return self.origin.about

    def __len__(self) -> int:
        return len(self.origin)

    def groups(self) -> Sequence[int] | None:
        """Those of the pictures, if they have any."""
        return groups_of(self.origin)

    def batch(self, index: Sequence[int]) -> Batch:
        """Images of the layout of the targets, and the conditions of these items.

        The images are the targets where they are known, which are then the fact `target` as well.
        """
        own = self.origin.batch(index)
        condition = {name: value[list(index)] for name, value in self.condition.items()}
        facts: dict[str, Any] = {"target": list(own.x)} if SOURCE in own.condition else {}
        if self.names is not None:
            facts["name"] = [self.names[i] for i in index]
        return Batch(own.x, {**condition, SOURCE: own.condition.get(SOURCE, own.x)}, facts)


def read(
    path: Path,
    about: Mapping[str, Any],
    degrade: str | None = None,
    seed: int = 0,
    **options: Any,
) -> Sources:
    """Sources at `path`, of the channels and the size that a run takes.

    Args:
        path: a picture, a folder or zip of pictures or of pairs, or an array; see `data.read`.
        about: the facts of the run's data.
        degrade: degradations that make the sources from the pictures, which are the targets then.
            None: the pictures are sources as they are, those of pairs with their targets. Smaller
            ones are enlarged by the factor by which the sources of the run had been reduced.
        seed: of what is random in the degradations.
        options: of the `reading` of the recipe; `size`, `fit` and `buckets` count.

    Raises:
        InputError: for a picture of another size than the run's, or two of one name but for the
            suffix; see `data.read`, `pairs.read` and `degrading.parse`.
    """
    cut = "patch" in options  # the size is that of patches, to which pictures are not brought
    fitting: dict[str, Any] = {
        "size": None if cut else options.get("size"),
        "buckets": None if cut else options.get("buckets"),
        "fit": options.get("fit", "cut"),
        "channels": about["channels"],
    }
    smaller = about[SOURCE]["scale"] if degrade is None else 1
    origin: Dataset
    if pairs.holds(path):
        origin = pairs.read(path, **fitting)
    elif (found := _found(path)) and found.files:
        origin = _pictures(found, about, smaller, fitting)
    else:
        origin = _sized(data.read(path, **fitting), about, smaller)
    if "buckets" not in about and origin.about["size"] != about["size"]:
        raise InputError(_other(path, origin.about["size"], about, 1))
    if degrade is not None:
        origin = pairs.degrade(origin, degrade, seed)
    return Sources(origin, _names(path, origin))


def _found(path: Path) -> Found | None:
    if path.is_dir():
        return in_folder(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return in_archive(path)
    return Found([path], [path.name], None) if path.suffix.lower() in SUFFIXES else None


def _pictures(
    found: Found, about: Mapping[str, Any], smaller: int, fitting: Mapping[str, Any]
) -> Dataset:
    """Picture files, brought to a size as for training, or enlarged to it by the factor known."""
    heads = [header(file) for file in found.files]
    depth, fit = fitting["channels"], fitting["fit"]
    if fitting["size"] is not None or fitting["buckets"] is not None:
        return data.pictures_of(
            found, heads, fitting["size"], depth, fit, fitting["buckets"]
        )[0]  # fmt: skip
    for file, head in zip(found.files, heads, strict=True):
        if about["size"] not in (list(head.size), [smaller * side for side in head.size]):
            raise InputError(_other(file, head.size, about, smaller))
    plain = data.picker(found.files, depth, None, fit, [head.size for head in heads])
    way = _way(about)

    def pick(index: Sequence[int]) -> Tensor:
        return torch.cat(
            [
                degrading.enlarged(plain([i]), about["size"][0] // heads[i].size[0], way)
                for i in index
            ]
        )

    return data.images(len(heads), pick, None, found.keys)


def _sized(found: data.Images, about: Mapping[str, Any], smaller: int) -> data.Images:
    """Images of an array, enlarged if they are smaller than those of a run by the factor known."""
    if [smaller * side for side in found.about["size"]] != about["size"] or smaller == 1:
        return found
    way = _way(about)

    def pick(index: Sequence[int]) -> Tensor:
        return degrading.enlarged(found.pick(index), smaller, way)

    return replace(found, pick=pick, about={**found.about, "size": about["size"]})


def _way(about: Mapping[str, Any]) -> degrading.Up:
    text = about[SOURCE]["degrade"]
    return degrading.reduction(degrading.parse(text))[1] if text else "bicubic"


def _other(what: object, size: Sequence[int], about: Mapping[str, Any], smaller: int) -> str:
    height, width = about["size"]
    small = told((height // smaller, width // smaller))
    also = f" or {small}" if smaller > 1 else ""
    return (
        f"{what} is {told((size[0], size[1]))} (height x width), but this run takes sources of "
        f"{told((height, width))}{also}; bring it to that size"
    )


def _names(path: Path, origin: Dataset) -> list[str] | None:
    """What to call what is made of each picture: its own name, without the suffix."""
    keys = keys_of(origin)
    if keys is None:
        return None
    names = [str(PurePosixPath(key).with_suffix("")) for key in keys]
    seen: dict[str, str] = {}
    for name, key in zip(names, keys, strict=True):
        if name in seen:
            raise InputError(
                f"{path} holds both {seen[name]} and {key}, whose restorations would have one "
                "name; rename one"
            )
        seen[name] = key
    return names
