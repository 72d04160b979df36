"""What the command line knows of images."""

from __future__ import annotations

__all__ = ["ImageDomain", "domain"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato.components import close_matches
from sfumato_eval import Score

from . import captions, data, metrics, reading, sources
from .fidelity import fidelity
from .files import SUFFIXES
from .fitting import parse_size
from .preview import preview

_NOTHING = "no condition: its images had no classes and no captions"


class ImageDomain:
    """The `sfumato.domain.Domain` of images; see the functions that its methods call."""

    name: ClassVar[str] = "images"

    def read(self, path: Path, **options: Any) -> Dataset:
        """Images at `path`; takes the options of `sfumato_images.reading.read`."""
        return reading.read(Path(path), **options)

    def demo(self) -> Dataset:
        """1,797 handwritten digits."""
        return data.demo()

    def sources(
        self, path: Path, values: Mapping[str, str], about: Mapping[str, Any], **options: Any
    ) -> Dataset:
        """Sources at `path` for a run of pairs; `degrade=blur:1.5` makes them from what is there.

        All other values are conditions, which go through the sources in turn.
        """
        words = dict(values)
        found = sources.read(Path(path), about, words.pop("degrade", None), **options)
        condition = self.condition(words, len(found), about) if words else {}
        return replace(found, condition=condition)

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """One PNG file for each image, and tables of their labels and captions."""
        files = data.write(batch, Path(path), about)
        if captions.CAPTION not in batch.condition:
            return files
        names = [file.name for file in files if file.suffix in SUFFIXES]
        texts = captions.unpack(batch.condition[captions.CAPTION])
        return [*files, captions.write(Path(path), names, texts)]

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """A grid of images; of pairs with their sources and, where they are known, targets."""
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
        """What n samples are asked for with: a class, a caption, both or nothing, as the data has.

        `label` is a class name, a range such as `0..9` or a list of these with commas: the samples
        go through them in turn. Classes may be given by number where no name is one. `prompt` is a
        text, several with `|` between them, or `@file` with one a line, gone through in turn too;
        it becomes the conditions `vector`, for the network, and `caption`, for people. Without a
        value the samples go through all classes, and through captions of the data.

        `size` (n, 2), for a model that was trained on several: one of them, `64x48` (height x
        width); without it samples have the most common one.

        Raises:
            InputError: for another condition, or a class that is not there; gives close matches;
                if only one of two conditions is given, which training never did; if the text
                encoder is not the one that the model was trained with.
        """
        classes, text, sizes = about["classes"], about.get("text"), about.get("buckets")
        told = [name for name, has in (("label", classes), ("prompt", text)) if has]
        takes = [*told, *(["size"] if sizes else [])]
        for name in values:
            if name not in takes:
                those = f"the condition {' and '.join(takes)}" if takes else _NOTHING
                raise InputError(f"there is no condition {name!r}; this model takes {those}")
        if missing := [name for name in told if set(told) & set(values) and name not in values]:
            raise InputError(
                f"this model was told label and prompt together; give {missing[0]}=... as well"
            )
        found: dict[str, Tensor] = {}
        if "size" in values:
            found["size"] = torch.tensor(_size(values["size"], sizes or ())).expand(n, 2)
        if classes:
            cycle = _labels(values["label"], classes) if "label" in values else range(len(classes))
            found["label"] = torch.tensor([cycle[i % len(cycle)] for i in range(n)])
        if text:
            captions.check_encoder(text)
            given = values.get("prompt")
            prompts = text["examples"] if given is None else captions.prompts(given)
            rows = torch.arange(n) % len(prompts)
            vectors = captions.embed(prompts, text["encoder"])
            found[captions.VECTOR] = vectors[rows]
            found[captions.CAPTION] = captions.pack(prompts)[rows]
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
