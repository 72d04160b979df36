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
from sfumato_eval import Score

from . import data, metrics
from .fidelity import fidelity
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

    def fidelity(self, original: Batch, made: Batch) -> Mapping[str, Score]:
        """PSNR and SSIM of images against what they were made from."""
        return fidelity(original, made)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """`label` for n samples, (n,) long; empty where the images have no classes.

        The value is a class name, a range such as `0..9` or a list of these with commas: the
        samples go through them in turn. Classes may be given by number where no name is one.
        Without a value the samples go through all classes.

        Raises:
            InputError: for another condition, or a class that is not there; gives close matches.
        """
        classes = about["classes"]
        for name in values:
            if name != "label" or not classes:
                takes = (
                    "the condition label" if classes else "no condition: its images had no classes"
                )
                raise InputError(f"there is no condition {name!r}; this model takes {takes}")
        if not classes:
            return {}
        cycle = _labels(values["label"], classes) if values else list(range(len(classes)))
        return {"label": torch.tensor(cycle).repeat(-(-n // len(cycle)))[:n]}


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
