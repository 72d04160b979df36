"""Pairs of images: a source and the target to be made from it, for restoration and translation.

They are read from two folders, `source` and `target`, or made from any images by a degradation.
"""

from __future__ import annotations

__all__ = ["TARGET", "Paired", "degrade", "holds", "read"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato_data import Parted, groups_of, keys_of
from sfumato_train.pinning import SOURCE

from . import data, degrading
from .archive import entries
from .files import SUFFIXES, Header, header
from .fitting import Fit, told
from .folder import Found, in_archive, in_folder

TARGET = "target"

_TOLD = 4  # names that a message lists
_SAMPLE = 256  # most pairs that the moments are estimated from

Make = Callable[[Sequence[int], Tensor], Tensor]
"""From the numbers of items and their targets (B, C, H, W) to their sources, of the same shape."""


@dataclass(frozen=True, eq=False)
class Paired:
    """Images with the condition `source`, an image of the same shape.

    Attributes:
        targets: the images.
        make: makes their sources.
        about: the facts of the targets, and `source`: its `channels`, the degradation that makes it
            (`degrade`, null for sources that were read) and the whole number by which it was
            enlarged to the size of the target (`scale`); further `sigma_source`, the root mean
            square of its values, and `cross`, the mean of its values times those of the target.
    """

    targets: Dataset
    make: Make
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.targets)

    def keys(self) -> Sequence[str] | None:
        """The names of the targets."""
        return keys_of(self.targets)

    def groups(self) -> Sequence[int] | None:
        """The groups of the targets, if they have any."""
        return groups_of(self.targets)

    def test_part(self) -> Sequence[int] | None:
        """The test part that the targets come with, if any."""
        return self.targets.test_part() if isinstance(self.targets, Parted) else None

    def batch(self, index: Sequence[int]) -> Batch:
        """The targets at `index`, with their conditions and sources."""
        own = self.targets.batch(index)
        return Batch(own.x, {**own.condition, SOURCE: self.make(index, own.x)}, own.about)


def paired(targets: Dataset, make: Make, scale: int, degradation: str | None = None) -> Paired:
    """Images with their sources, and the facts of both."""
    count = min(len(targets), _SAMPLE)
    squares = cross = 0.0
    for number in range(count):
        index = [number * len(targets) // count]
        x = targets.batch(index).x
        source = make(index, x).double()
        squares += float(source.square().mean()) / count
        cross += float((source * x).mean()) / count
    about = {
        **targets.about,
        SOURCE: {"channels": targets.about["channels"], "degrade": degradation, "scale": scale},
        "sigma_source": round(max(squares**0.5, 1e-2), 4),
        "cross": round(cross, 4),
    }
    return Paired(targets, make, about)


def degrade(targets: Dataset, text: str, seed: int) -> Paired:
    """Images whose sources are made from them by degradations, each always the same.

    Args:
        targets: the images.
        text: the degradations; see `degrading.parse`.
        seed: of what is random in them.

    Raises:
        InputError: if the images have sources already, or the degradations do not fit them.
    """
    about, steps = targets.about, degrading.parse(text)
    if SOURCE in about:
        raise InputError(
            f"degrade={text}: the data has sources of its own; leave out degrade, or give the "
            "folder of the targets alone"
        )
    for size in about.get("buckets", [about["size"]]):
        degrading.check(steps, about["channels"], (size[0], size[1]))

    def make(index: Sequence[int], x: Tensor) -> Tensor:
        return degrading.degraded(x, steps, seed, index)

    return paired(targets, make, degrading.reduction(steps)[0], "+".join(map(str, steps)))


def holds(path: Path) -> bool:
    """Whether a folder or a zip holds pairs: a folder `source` and a folder `target`.

    Raises:
        InputError: if it holds one of them and no other folder.
    """
    if path.is_dir():
        inner = {p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")}
    elif path.suffix.lower() == ".zip" and path.is_file():
        inner = {name.partition("/")[0] for name in entries(path) if "/" in name}
    else:
        return False
    if inner in ({SOURCE}, {TARGET}):
        other = ({SOURCE, TARGET} - inner).pop()
        raise InputError(
            f"{path} holds a folder {inner.pop()!r} and no folder {other!r}; pairs need both"
        )
    return {SOURCE, TARGET} <= inner


def read(
    path: Path,
    size: int | str | None = None,
    channels: int | None = None,
    fit: Fit = "cut",
    buckets: int | None = None,
) -> Paired:
    """The pairs in a folder or a zip: pictures below `source` and `target`, of the same names.

    Suffixes do not count: `source/a/0.jpg` goes with `target/a/0.png`. Both become images of the
    same channels and size. The sources may be smaller by a whole factor, the same for all, as for
    super-resolution; they are enlarged (bicubic).

    Args:
        path: the folder or zip.
        size: see `data.read`, like the other arguments; both images of a pair are treated alike.
        channels: of both; None: 1 if all pictures are grey, else 3.
        fit: see there.
        buckets: see there.

    Raises:
        InputError: if a picture has no partner or two, or another size than it; see `data.read`.
    """
    data.check_options(size, channels, fit, buckets)
    target, source = (_part(path, name) for name in (TARGET, SOURCE))
    order = _partners(path, target, source)
    heads = [header(file) for file in target.files]
    others = [header(source.files[i]) for i in order]
    scale = _scale(path, target.keys, heads, others)
    depth = channels or (1 if all(one.grey for one in (*heads, *others)) else 3)
    targets, sizes = data.pictures_of(target, heads, size, depth, fit, buckets)
    files = [source.files[i] for i in order]
    wanted = None if size is None and buckets is None else sizes
    pick = data.picker(files, depth, wanted, fit, [one.size for one in others])

    def make(index: Sequence[int], x: Tensor) -> Tensor:
        found = pick(index)
        return found if found.shape == x.shape else degrading.enlarged(found, scale)

    return paired(targets, make, scale)


def _part(path: Path, name: str) -> Found:
    found = in_folder(path / name) if path.is_dir() else in_archive(path, f"{name}/")
    if not found.files:
        raise InputError(
            f"there is no picture in {name} of {path}; accepted are {', '.join(SUFFIXES)}"
        )
    return found


def _partners(path: Path, target: Found, source: Found) -> list[int]:
    """For each target the number of its source."""
    stems = [_stems(path, TARGET, target.keys), _stems(path, SOURCE, source.keys)]
    for here, there, name in ((*stems, SOURCE), (*reversed(stems), TARGET)):
        if lacking := [stem for stem in here if stem not in there]:
            some = ", ".join(lacking[:_TOLD])
            more = f" and {len(lacking) - _TOLD} more" if len(lacking) > _TOLD else ""
            raise InputError(
                f"{name} of {path} has no picture named {some}{more}; each picture needs a partner "
                "of its name, whatever its suffix"
            )
    return [stems[1][stem] for stem in stems[0]]


def _stems(path: Path, name: str, keys: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for i, key in enumerate(keys):
        stem = str(PurePosixPath(key).with_suffix(""))
        if stem in found:
            raise InputError(
                f"{name} of {path} holds both {keys[found[stem]]} and {key}; which of them is the "
                "partner cannot be told"
            )
        found[stem] = i
    return found


def _scale(
    path: Path, keys: Sequence[str], targets: Sequence[Header], sources: Sequence[Header]
) -> int:
    """By what all targets are larger than their sources."""
    first = targets[0].size[0] // sources[0].size[0]
    for key, (target, _), (source, _) in zip(keys, targets, sources, strict=True):
        scale = target[0] // source[0]
        if (scale * source[0], scale * source[1]) != target:
            raise InputError(
                f"the pair {key!r} of {path} differs in size: its source is {told(source)} and its "
                f"target {told(target)} (height x width); they must be equal, or the target a "
                "whole number of times larger"
            )
        if scale != first:
            raise InputError(
                f"the pair {key!r} of {path} has a target {scale} times as large as its source, "
                f"but that of {keys[0]!r} is {first} times as large; one factor holds for all"
            )
    return first
