"""Sets of images: pictures in a folder or a zip, arrays in files, or the digits that come along."""

from __future__ import annotations

__all__ = [
    "Images", "check_options", "demo", "images", "picker", "pictures_of", "read", "write",
]  # fmt: skip

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, InputError

from . import arrays, buckets, idx
from .arrays import Pick
from .files import SUFFIXES, File, Header, decode, header, pictures, save
from .fitting import FITS, Fit, Size, parse_size, told
from .folder import Found, in_archive, in_folder
from .labels import LABELS, ordered

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
            empty without) and `sigma_data`, the root mean square of the values; of images in
            several sizes also `buckets`, the sizes, of which `size` is the most common.
        files: the name of each where it is a file; a split goes by it.
        bucket: the group of each where there are several sizes, 0 being that of `size`.
    """

    count: int
    pick: Pick
    labels: Tensor | None
    about: Mapping[str, Any]
    files: Sequence[str] | None = None
    bucket: Sequence[int] | None = None

    def __len__(self) -> int:
        return self.count

    def keys(self) -> Sequence[str] | None:
        """The name of each image, relative to its folder; None for images of an array."""
        return self.files

    def groups(self) -> Sequence[int] | None:
        """The group of each image, of which a batch holds one; None where all have one size."""
        return self.bucket

    def batch(self, index: Sequence[int]) -> Batch:
        """The images at `index`, with the condition `label` where they have classes."""
        condition = {} if self.labels is None else {"label": self.labels[list(index)]}
        return Batch(self.pick(index), condition)


def images(
    count: int,
    pick: Pick,
    names: Sequence[str] | None = None,
    files: Sequence[str] | None = None,
    bucket: Sequence[int] | None = None,
) -> Images:
    """A dataset from a function that picks images, with class, file and group where there are."""
    classes = ordered(names or ())
    number = {name: i for i, name in enumerate(classes)}
    labels = None if names is None else torch.tensor([number[name] for name in names])
    first = pick([0 if bucket is None else bucket.index(0)])
    used = min(count, _SAMPLE, max(1, _VALUES // first.numel()))
    some = [i * count // used for i in range(used)]
    parts = [some] if bucket is None else [[i] for i in some]
    squares = torch.cat([pick(part).double().square().flatten() for part in parts])
    about = {
        "size": list(first.shape[2:]),
        "channels": first.shape[1],
        "classes": classes,
        "sigma_data": round(max(float(squares.mean().sqrt()), 1e-2), 4),
    }
    return Images(count, pick, labels, about, files, bucket)


def demo() -> Images:
    """The 1,797 handwritten digits, 8 x 8 pixels of 17 grey levels, that scikit-learn carries.

    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test
    part: 13 writers).
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 8 - 1
    return images(len(x), lambda index: x[list(index)], [str(label) for label in digits.target])


def read(
    path: Path,
    size: int | str | None = None,
    channels: int | None = None,
    fit: Fit = "cut",
    buckets: int | None = None,
) -> Images:
    """Images at `path`, as float32 in [-1, 1], channels first.

    - A folder or a zip of PNG, JPEG, WebP, TIFF, BMP and GIF files, at any depth, in the order of
      their paths. Files of other kinds and those whose name starts with a dot are passed over. The
      classes stand in a `labels.csv` with the columns `file` and `class`; without one, the
      sub-folders are the classes where all pictures lie in two or more of them.
    - An `.npy`, `.npz` or IDX file, see `sfumato_images.arrays.read`; a folder of IDX files, which
      are joined, those of training first.

    Args:
        path: folder or file.
        size: what pictures of other sizes are brought to: 32 for a square, "64x48" for height x
            width. Without it, all must be of one size.
        channels: 1 for grey, 3 for colour, 4 with alpha. Without it, 1 if all are grey, else 3.
        fit: how they are brought to a size: "cut" out of the centre, "pad" with white, "stretch".
        buckets: in place of `size`: pictures keep about their aspect, each being brought to the
            nearest of the sizes that have the area of a square of this side, see `buckets.sizes`.

    Raises:
        InputError: if there is nothing there that can be read; names the file.
    """
    check_options(size, channels, fit, buckets)
    name = path.suffix.lower()
    if not path.exists():
        raise InputError(f"{path} does not exist; give {_KINDS}")
    if path.is_dir() or name == ".zip":
        found = in_folder(path) if path.is_dir() else in_archive(path)
        if found.files:
            heads = [header(file) for file in found.files]
            depth = channels or (1 if all(one.grey for one in heads) else 3)
            return pictures_of(found, heads, size, depth, fit, buckets)[0]
    parts = idx.pairs(path) if path.is_dir() else [path]
    if not parts or name == ".zip":
        raise InputError(f"there is no picture in {path}; accepted are {', '.join(SUFFIXES)}")
    if not path.is_dir() and name not in (".npy", ".npz") and not idx.is_idx(path):
        raise InputError(f"{path} is not {_KINDS}")
    whole = images(*arrays.read(parts))
    _check_array(path, whole.about, size, channels, buckets)
    return whole


def check_options(
    size: int | str | None, channels: int | None, fit: Fit, buckets: int | None
) -> None:
    """Make sure that options of `read` are in range and go together; raises `InputError`."""
    if channels not in (None, 1, 3, 4):
        raise InputError(f"channels={channels}: accepted are 1 (grey), 3 (colour), 4 (with alpha)")
    if fit not in FITS:
        raise InputError(f"fit={fit}: accepted are {', '.join(FITS)}")
    if size is not None and buckets is not None:
        raise InputError(f"size={size} and buckets={buckets} exclude each other; give one")
    if size is not None:
        parse_size(size)


_KINDS = "a folder or .zip of pictures, or an .npy, .npz or IDX file"


def _check_array(
    path: Path,
    about: Mapping[str, Any],
    size: int | str | None,
    channels: int | None,
    side: int | None,
) -> None:
    """Arrays are taken as they are; only pictures are resized."""
    height, width = about["size"]
    wanted = None if size is None else parse_size(size)
    if side is not None or wanted not in (None, (height, width)):
        asked = f"size={told(wanted)}" if wanted else f"buckets={side}"
        raise InputError(
            f"{path} holds images of {told((height, width))}; {asked} resizes files of pictures "
            "only, so resize the array itself"
        )
    if channels not in (None, about["channels"]):
        raise InputError(
            f"{path} holds images of {about['channels']} channels; channels={channels} converts "
            "files of pictures only, so convert the array itself"
        )


def pictures_of(
    found: Found,
    heads: Sequence[Header],
    size: int | str | None,
    depth: int,
    fit: Fit,
    side: int | None,
) -> tuple[Images, Sequence[Size]]:
    """Picture files as images, and the size that each gets.

    Args:
        found: the files.
        heads: the header of each.
        size: see `read`, like `fit`.
        depth: channels.
        fit: see there.
        side: `buckets` of `read`.
    """
    own = [one.size for one in heads]
    bucket = None
    if side is not None:
        grid = buckets.sizes(side)
        sizes = [grid[buckets.nearest(one, grid)] for one in own]
        common = [one for one, _ in Counter(sizes).most_common()]
        bucket = [common.index(one) for one in sizes]
    elif size is not None:
        sizes = [parse_size(size)] * len(own)
    else:
        sizes = own
        _check_sizes(found.files, sizes)
    pick = picker(found.files, depth, None if sizes is own else sizes, fit, own)
    made = images(len(own), pick, found.names, found.keys, bucket)
    return made if side is None else replace(made, about={**made.about, "buckets": grid}), sizes


def picker(
    files: Sequence[File],
    depth: int,
    sizes: Sequence[Size] | None,
    fit: Fit,
    own: Sequence[Size],
) -> Pick:
    """Reads picture files: all at once if that takes at most `MEMORY`, else those asked for.

    Args:
        files: the files.
        depth: channels.
        sizes: what each is brought to; None: they stay as they are.
        fit: how.
        own: the size of each.
    """
    shapes = own if sizes is None else sizes

    def one(i: int) -> Tensor:
        x = decode(files[i], depth, None if sizes is None else sizes[i], fit)
        if x.shape[1:] != shapes[i]:
            raise InputError(f"{files[i]} has changed its size since it was first read")
        return x

    small = sum(4 * depth * height * width for height, width in shapes) <= MEMORY
    whole = [one(i) for i in range(len(files))] if small else None

    def pick(index: Sequence[int]) -> Tensor:
        if len({shapes[i] for i in index}) > 1:
            raise InputError("images of different sizes were asked for as one batch")
        return torch.stack([one(i) if whole is None else whole[i] for i in index])

    return pick


def _check_sizes(files: Sequence[File], sizes: Sequence[Size]) -> None:
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"the pictures differ in size: {files[0]} is {told(sizes[0])} and {file} is "
                f"{told(size)} (height x width); size=32 resizes and cuts all to 32 x 32, "
                "buckets=32 keeps their aspects"
            )


def write(batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write images as `000000000.png`, `000000001.png`, ... and, if labelled, their `labels.csv`.

    Args:
        batch: images in [-1, 1]; the condition `label`, if there, is the class of each, and the
            fact `number` the number that its file is called by, if it is not its place. The fact
            `name`, if there, is what its file is called by instead, without a suffix.
        path: the folder, made where it is missing.
        about: the facts of the data, for the names of the classes.

    Returns:
        The files, each written whole or not at all. `read` gives the same images back, to 8 bits.
    """
    path.mkdir(parents=True, exist_ok=True)
    numbers = batch.about.get("number", range(len(batch.x)))
    names = batch.about.get("name", [f"{number:09}" for number in numbers])
    files = [path / f"{name}.png" for name in names]
    for file, picture in zip(files, pictures(batch.x), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        save(picture, file)
    if "label" not in batch.condition:
        return files
    classes = [about["classes"][i] for i in batch.condition["label"].tolist()]
    beside = path / f".{LABELS}.{os.getpid()}"
    try:
        with beside.open("w", encoding="utf-8", newline="") as lines:
            table = csv.writer(lines)
            table.writerow(("file", "class"))
            places = (file.relative_to(path).as_posix() for file in files)
            table.writerows(zip(places, classes, strict=True))
        os.replace(beside, path / LABELS)
    finally:
        beside.unlink(missing_ok=True)
    return [*files, path / LABELS]
