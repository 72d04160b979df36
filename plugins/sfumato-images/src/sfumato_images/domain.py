"""What the command line knows of images."""

from __future__ import annotations

__all__ = ["ImageDomain", "domain"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato.components import close_matches

from . import data, metrics
from .fitting import parse_size
from .preview import preview


class ImageDomain:
    """The `sfumato.domain.Domain` of images; see the functions that its methods call."""

    name: ClassVar[str] = "images"

    def read(self, path: Path, **options: Any) -> Dataset:
        """Images at `path`; takes the options of `sfumato_images.data.read`."""
        return data.read(Path(path), **options)

    def demo(self) -> Dataset:
        """1,797 handwritten digits."""
        return data.demo()

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """One PNG file for each image, and a table of labels."""
        return data.write(batch, Path(path), about)

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """A grid of images."""
        return preview(batch, Path(path), about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """Distances in the features of a classifier that is trained on `train` first."""
        return metrics.metrics(train)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """`label` for n samples, (n,) long; empty where the images have no classes.

        The value is a class name, a range such as `0..9` or a list of these with commas: the
        samples go through them in turn. Classes may be given by number where no name is one.
        Without a value the samples go through all classes.

        `size` (n, 2), for a model that was trained on several: one of them, `64x48` (height x
        width); without it samples have the most common one.

        Raises:
            InputError: for another condition, or a class that is not there; gives close matches.
        """
        classes, sizes = about["classes"], about.get("buckets", ())
        there = [*(["label"] if classes else []), *(["size"] if sizes else [])]
        for name in values:
            if name not in there:
                takes = (
                    f"the condition {' and '.join(there)}"
                    if there
                    else "no condition: its images had no classes"
                )
                raise InputError(f"there is no condition {name!r}; this model takes {takes}")
        found = {}
        if "size" in values:
            found["size"] = torch.tensor(_size(values["size"], sizes)).expand(n, 2)
        if classes:
            asked = values.get("label")
            cycle = list(range(len(classes))) if asked is None else _labels(asked, classes)
            found["label"] = torch.tensor(cycle).repeat(-(-n // len(cycle)))[:n]
        return found


def _size(text: str, sizes: Sequence[Sequence[int]]) -> list[int]:
    size = list(parse_size(text))
    if size not in [list(one) for one in sizes]:
        there = ", ".join("x".join(map(str, one)) for one in sizes)
        raise InputError(f"size={text}: this model takes {there} (height x width)")
    return size


def _labels(text: str, classes: Sequence[str]) -> list[int]:
    """The classes that `cat`, `3`, `0..9` or `cat,dog` stand for."""
    if text in classes:
        return [classes.index(text)]
    found: list[int] = []
    for word in text.split(","):
        first, dots, last = word.strip().partition("..")
        low = _label(first, classes)
        high = _label(last, classes) if dots else low
        if high < low:
            raise InputError(f"label={text}: the range {word.strip()} is empty")
        found += range(low, high + 1)
    return found


def _label(word: str, classes: Sequence[str]) -> int:
    if word in classes:
        return classes.index(word)
    numbered = any(name.isdecimal() for name in classes)
    if word.isdecimal() and not numbered and int(word) < len(classes):
        return int(word)
    close = close_matches(word, classes)
    some = classes if len(classes) <= 12 else [*classes[:11], "..."]
    hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(some)}"
    raise InputError(f"there is no class {word!r}; {hint}")


domain = ImageDomain()
