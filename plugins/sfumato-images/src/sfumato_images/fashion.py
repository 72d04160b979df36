"""Pairs of IDX files with a training part and a test part, as MNIST and Fashion-MNIST come."""

from __future__ import annotations

__all__ = ["CLOTHES", "Parts", "holds", "read"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sfumato import InputError

from . import arrays, data, idx
from .data import Images

CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
"""Of Fashion-MNIST, in the order of their labels (Xiao et al. 2017, arXiv:1708.07747)."""


@dataclass(frozen=True, eq=False)
class Parts(Images):
    """Images of which the last `tested` are the test part."""

    tested: int = 0

    def test_part(self) -> Sequence[int]:
        """The items of the test part."""
        return range(self.count - self.tested, self.count)


def holds(folder: Path) -> bool:
    """Whether a folder holds IDX files of training and others for testing."""
    names = [path.name for path in idx.pairs(folder)] if folder.is_dir() else []
    return len(names) == 2 and [name.startswith("train") for name in names] == [True, False]


def read(
    folder: Path,
    classes: Sequence[str],
    size: int | str | None = None,
    channels: int | None = None,
) -> Parts:
    """The images of a folder with a training and a test part, float32 (1, H, W) in [-1, 1].

    Args:
        folder: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same of `t10k`,
            each plain or with `.gz`.
        classes: their names in the order of the labels.
        size: what the images must have; they are not resized.
        channels: what they must have.

    Raises:
        InputError: if a file is damaged or does not go with the others, or a label has no name.
    """
    found = data.read(folder, size, channels)
    numbers = [int(name) for name in found.about["classes"]]
    if found.labels is None:
        raise InputError(f"{folder} has no labels beside its images, but the classes are named")
    if max(numbers) >= len(classes):
        raise InputError(
            f"{folder} has a label {max(numbers)}, but {len(classes)} classes are named"
        )
    tested, _, _ = arrays.read_one(idx.pairs(folder)[1])
    about = {**found.about, "classes": list(classes)}
    label = torch.tensor(numbers)[found.labels]
    return Parts(found.count, found.pick, label, about, tested=tested)
