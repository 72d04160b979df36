"""Sets of images: a folder of pictures, an array in a file, or the digits that come along."""

from __future__ import annotations

__all__ = ["Images", "demo", "images", "read", "write"]

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from sfumato import Batch, InputError

from . import arrays
from .arrays import Pick
from .files import SUFFIXES, decode, header, pictures, save

LABELS = "labels.csv"
MEMORY = 1 << 28
"""Pictures of at most this many bytes, decoded, are all read at once, others batch by batch."""

_SAMPLE, _VALUES = 256, 1 << 24  # most images and values that the scale is estimated from


@dataclass(frozen=True, eq=False)
class Images:
    """A `Dataset` of images.

    Attributes:
        count: how many there are.
        pick: maps indices to images, float32 (B, C, H, W) in [-1, 1].
        labels: (count,) long, the class of each; None where the images have none.
        about: `size` [height, width], `channels`, `classes` (names in the order of the labels,
            empty without) and `sigma_data`, the root mean square of the values.
        files: the name of each where it is a file; a split goes by it.
    """

    count: int
    pick: Pick
    labels: Tensor | None
    about: Mapping[str, Any]
    files: Sequence[str] | None = None

    def __len__(self) -> int:
        return self.count

    def keys(self) -> Sequence[str] | None:
        """The name of each image, relative to its folder; None for images of an array."""
        return self.files

    def batch(self, index: Sequence[int]) -> Batch:
        """The images at `index`, with the condition `label` where they have classes."""
        condition = {} if self.labels is None else {"label": self.labels[list(index)]}
        return Batch(self.pick(index), condition)


def images(
    count: int, pick: Pick, names: Sequence[str] | None = None, files: Sequence[str] | None = None
) -> Images:
    """A dataset from a function that picks images, with class and file of each if it has them."""
    classes = _ordered(names or ())
    number = {name: i for i, name in enumerate(classes)}
    labels = None if names is None else torch.tensor([number[name] for name in names])
    used = min(count, _SAMPLE, max(1, _VALUES // pick([0]).numel()))
    some = [i * count // used for i in range(used)]
    return Images(count, pick, labels, _about(pick(some), classes), files)


def _about(x: Tensor, classes: Sequence[str] = ()) -> dict[str, Any]:
    """The facts of a dataset that looks like the images `x` (N, C, H, W)."""
    spread = float(x.double().square().mean().sqrt())
    return {
        "size": list(x.shape[2:]),
        "channels": x.shape[1],
        "classes": list(classes),
        "sigma_data": round(max(spread, 1e-2), 4),
    }


def _ordered(names: Sequence[str]) -> list[str]:
    """The different names: by value where all are numbers, else by alphabet."""
    different = sorted(set(names))
    return sorted(different, key=int) if all(n.isdecimal() for n in different) else different


def demo() -> Images:
    """The 1,797 handwritten digits, 8 x 8 pixels of 17 grey levels, that scikit-learn carries.

    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test
    part: 13 writers).
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 8 - 1
    return images(len(x), lambda index: x[list(index)], [str(label) for label in digits.target])


def read(path: Path, size: int | None = None, channels: int | None = None) -> Images:
    """Images at `path`, as float32 in [-1, 1], channels first.

    - A folder of PNG and JPEG files, at any depth, in the order of their paths. Files of other
      kinds and those whose name starts with a dot are passed over. The classes stand in a
      `labels.csv` with the columns `file` and `class`; without one, the sub-folders are the classes
      where all pictures lie in two or more of them.
    - An `.npy` or `.npz` file, see `sfumato_images.arrays.read`.

    Args:
        path: folder or file.
        size: pictures of other sizes are scaled until the shorter side has this length and cut to
            the central square. Without it, all must be of one size.
        channels: 1 for grey, 3 for colour, 4 with alpha. Without it, 1 if all are grey, else 3.

    Raises:
        InputError: if there is nothing there that can be read; names the file.
    """
    if size is not None and size < 1:
        raise InputError(f"size={size}: pictures have at least 1 pixel a side")
    if channels not in (None, 1, 3, 4):
        raise InputError(f"channels={channels}: accepted are 1 (grey), 3 (colour), 4 (with alpha)")
    if path.is_dir():
        return _folder(path, size, channels)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder of pictures, an .npy or .npz file")
    if path.suffix.lower() not in (".npy", ".npz"):
        raise InputError(f"{path} is no folder of pictures, and no .npy or .npz file")
    found = images(*arrays.read(path))
    _check_array(path, found.about, size, channels)
    return found


def _check_array(
    path: Path, about: Mapping[str, Any], size: int | None, channels: int | None
) -> None:
    """Arrays are taken as they are; only files of pictures are resized."""
    if size is not None and about["size"] != [size, size]:
        height, width = about["size"]
        raise InputError(
            f"{path} holds images of {height} x {width}; size={size} resizes folders of pictures "
            "only, so resize the array itself"
        )
    if channels not in (None, about["channels"]):
        raise InputError(
            f"{path} holds images of {about['channels']} channels; channels={channels} converts "
            "folders of pictures only, so convert the array itself"
        )


def _folder(root: Path, size: int | None, channels: int | None) -> Images:
    files = _files(root)
    if not files:
        raise InputError(f"there is no .png, .jpg or .jpeg file in {root}")
    names = _class_names(root, files)
    headers = [header(file) for file in files]
    if size is None:
        _check_sizes(files, [found.size for found in headers])
    height, width = (size, size) if size else headers[0].size
    depth = channels or (1 if all(found.grey for found in headers) else 3)

    def pick(index: Sequence[int]) -> Tensor:
        found = [decode(files[i], depth, size) for i in index]
        for i, x in zip(index, found, strict=True):
            if x.shape[1:] != (height, width):
                raise InputError(f"{files[i]} has changed its size since it was first read")
        return torch.stack(found)

    keys = [file.relative_to(root).as_posix() for file in files]
    if len(files) * depth * height * width * 4 > MEMORY:
        return images(len(files), pick, names, keys)
    whole = pick(range(len(files)))
    return images(len(files), lambda index: whole[list(index)], names, keys)


def _files(root: Path) -> list[Path]:
    """The pictures below a folder, sorted; links are followed, each folder is entered once."""

    def unreadable(error: OSError) -> NoReturn:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error

    found: list[Path] = []
    entered: set[str] = set()
    for folder, inner, names in os.walk(root, followlinks=True, onerror=unreadable):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if os.path.realpath(folder) in entered:
            inner.clear()
            continue
        entered.add(os.path.realpath(folder))
        wanted = (n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith("."))
        found += [Path(folder, name) for name in wanted]
    return sorted(found, key=lambda file: file.relative_to(root).parts)


def _check_sizes(files: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> None:
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"the pictures differ in size: {files[0]} is {_text(sizes[0])} and {file} is "
                f"{_text(size)} (height x width); size=32 resizes and cuts all to 32 x 32"
            )


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _class_names(root: Path, files: Sequence[Path]) -> list[str] | None:
    if (root / LABELS).is_file():
        return _table(root / LABELS, files)
    parts = [file.relative_to(root).parts for file in files]
    if any(len(part) == 1 for part in parts) or len({part[0] for part in parts}) < 2:
        return None
    return [part[0] for part in parts]


def _table(path: Path, files: Sequence[Path]) -> list[str]:
    """The class of each file as told by a table with the columns `file` and `class`."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            found = {row["file"]: row["class"] for row in csv.DictReader(lines)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a table that can be read: {error}") from error
    except KeyError as error:
        raise InputError(f"{path} has no column {error}; it needs file and class") from error
    names = [found.get(file.relative_to(path.parent).as_posix()) for file in files]
    for file, name in zip(files, names, strict=True):
        if not name:
            raise InputError(f"{path} gives no class for {file}")
    return [name for name in names if name]


def write(batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write images as `000000000.png`, `000000001.png`, ... and, if labelled, their `labels.csv`.

    Args:
        batch: images in [-1, 1]; the condition `label`, if there, is the class of each, and the
            fact `number` the number that its file is called by, if it is not its place.
        path: the folder, made where it is missing.
        about: the facts of the data, for the names of the classes.

    Returns:
        The files, each written whole or not at all. `read` gives the same images back, to 8 bits.
    """
    path.mkdir(parents=True, exist_ok=True)
    numbers = batch.about.get("number", range(len(batch.x)))
    files = [
        save(picture, path / f"{number:09}.png")
        for number, picture in zip(numbers, pictures(batch.x), strict=True)
    ]
    if "label" not in batch.condition:
        return files
    names = [about["classes"][i] for i in batch.condition["label"].tolist()]
    beside = path / f".{LABELS}.{os.getpid()}"
    try:
        with beside.open("w", encoding="utf-8", newline="") as lines:
            table = csv.writer(lines)
            table.writerow(("file", "class"))
            table.writerows(zip((file.name for file in files), names, strict=True))
        os.replace(beside, path / LABELS)
    finally:
        beside.unlink(missing_ok=True)
    return [*files, path / LABELS]
