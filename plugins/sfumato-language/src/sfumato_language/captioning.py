"""Pictures with captions: what a model is trained on that looks at one and writes the other."""

from __future__ import annotations

__all__ = ["PICTURE", "Captions", "Shown", "examples", "looked_at", "read", "shown", "write"]

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sfumato import Batch, InputError, Padded, state
from sfumato_data import captions, emoji, pictures
from sfumato_train.files import make_folder

from . import samples
from .canvas import CANVAS, conditions
from .tokens import Tokenizer, made

PICTURE = "picture"
"""The condition (B, 3, H, W) in [-1, 1] that a caption is of."""

SHOWN = 8
"""Pictures that the facts keep, for samples that nothing else is asked of."""

MEMORY = 1 << 31
"""The pictures, decoded, take at most so many bytes."""

TABLE = captions.TABLES[1]


@dataclass(frozen=True, eq=False)
class Captions:
    """A `Dataset` of token ids, each item with its `picture` and a `canvas`, which is all masks.

    Attributes:
        ids: (N, L) ids: a caption, and ends behind it.
        pixels: (N, 3, H, W) uint8.
        names: of the items, by which they are split.
        tokenizer: what made the ids.
        about: `length`, `vocabulary`, `pack`, `tokenizer`, `picture` (its shape), `shown` (some as
            PNG in base64), and `sources`, what the verb `sample` takes as data.
    """

    ids: NDArray[Any]
    pixels: Tensor
    names: Sequence[str]
    tokenizer: Tokenizer
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self) -> Sequence[str]:
        """The file of each picture; of emoji what they have in common with near-duplicates."""
        return self.names

    def batch(self, index: Sequence[int]) -> Batch:
        """The items at `index`: `Padded` ids, `canvas` and `picture`."""
        ids = torch.from_numpy(self.ids[list(index)].astype(np.int64))
        every = torch.ones_like(ids, dtype=torch.bool)
        canvas = Padded(torch.full_like(ids, self.tokenizer.mask), every)
        picture = _values(self.pixels[list(index)])
        return Batch(Padded(ids, every), {CANVAS: canvas, PICTURE: picture})


def read(
    path: Path,
    *,
    size: int = 32,
    length: int = 24,
    tokenizer: str | Tokenizer = "bpe",
    vocabulary: int = 512,
) -> Captions:
    """Pictures with captions at `path`.

    A folder of pictures, at any depth, with their captions in `captions.csv` or `captions.jsonl`
    (columns `file` and `text`) or in a text file beside each; or a font of emoji, whose captions
    are their names.

    Args:
        path: where they are.
        size: pixels a side that pictures are brought to, see `sfumato_data.pictures`.
        length: tokens of a caption, its end included.
        tokenizer: see `tokens.TokenizerName`, or one that there is.
        vocabulary: tokens of `bpe`, at most.

    Raises:
        InputError: if there are no pictures or no captions, or one is longer than `length`.
    """
    pixels, texts, files, names = _found(path, size)
    if isinstance(tokenizer, str):
        tokenizer = made(tokenizer, texts, vocabulary)
    ids = np.full((len(texts), length), tokenizer.eos, np.dtype("<u4"))
    for row, text, file in zip(ids, texts, files, strict=True):
        try:
            said = tokenizer.encode(text)
        except InputError as error:
            raise InputError(f"the caption of {file}: {error}") from None
        if len(said) + 1 > length:
            raise InputError(
                f"the caption of {file} has {len(said)} tokens and an end, more than the {length} "
                "of an item; shorten it, or raise length"
            )
        row[: len(said)] = said
    few = min(SHOWN, len(texts))
    about = {
        "length": length,
        "vocabulary": tokenizer.size,
        "pack": False,
        "tokenizer": tokenizer.facts(),
        "picture": list(pixels.shape[1:]),
        "shown": [_packed(pixels[i * len(texts) // few]) for i in range(few)],
        "sources": "pictures",
    }
    return Captions(ids, pixels, names, tokenizer, about)


def _found(path: Path, size: int) -> tuple[Tensor, Sequence[str], Sequence[str], Sequence[str]]:
    """Pixels, captions, what messages call each, and the keys of the split."""
    font = emoji.find_font(path)
    if font is not None:
        x, called, keys = emoji.read(font, size)
        return _bytes(x), called, called, keys
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder of pictures with captions, and no font of emoji (.ttf)"
        )
    files = _files(path)
    names = [file.relative_to(path).as_posix() for file in files]
    texts = captions.find(path, names)
    if texts is None:
        raise InputError(
            f"the pictures in {path} have no captions; they stand in captions.csv or "
            "captions.jsonl, with file and text, or each in a .txt file beside its picture"
        )
    return _decoded(files, size), texts, names, names


def _files(path: Path) -> list[Path]:
    """The picture at a path, or those in a folder, in the order of their paths."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give a picture or a folder of pictures")
    every = sorted(path.rglob("*")) if path.is_dir() else [path]
    some = [f for f in every if f.suffix.lower() in pictures.SUFFIXES and f.name[0] != "."]
    if not some:
        raise InputError(
            f"there is no picture in {path}; accepted are {', '.join(pictures.SUFFIXES)}"
        )
    return some


def _decoded(files: Sequence[Path], size: int) -> Tensor:
    if 3 * len(files) * size * size > MEMORY:
        raise InputError(
            f"{len(files)} pictures at size={size} take more than {MEMORY} bytes; take fewer, or "
            "a smaller size"
        )
    return torch.stack([_bytes(pictures.read(file, size)) for file in files])


def _bytes(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().to(torch.uint8)


def _values(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def looked_at(path: Path, about: Mapping[str, Any]) -> tuple[Tensor, list[str]]:
    """Pictures at a path, (N, 3, H, W) as a run takes them, and their names."""
    files = _files(path)
    root = path if path.is_dir() else path.parent
    names = [file.relative_to(root).as_posix() for file in files]
    return _values(_decoded(files, int(about["picture"][-1]))), names


def examples(about: Mapping[str, Any]) -> Tensor:
    """The pictures that the facts keep, (N, 3, H, W)."""
    return torch.stack([_values(_unpacked(content)) for content in about["shown"]])


def _packed(pixels: Tensor) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels.movedim(0, 2).numpy()).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _unpacked(content: str) -> Tensor:
    with Image.open(io.BytesIO(base64.b64decode(content)), formats=("PNG",)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).movedim(2, 0)


@dataclass(frozen=True, eq=False)
class Shown:
    """A `Dataset` of pictures to be described: empty canvases, or partly filled ones.

    Attributes:
        values: (N, 3, H, W).
        names: of the files.
        condition: further ones, `canvas` among them.
        about: facts of the run's data.
    """

    values: Tensor
    names: Sequence[str]
    condition: Mapping[str, Any]
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, index: Sequence[int]) -> Batch:
        """The canvases at `index` with their pictures; the fact `name` is that of the file."""
        place = torch.tensor(list(index))
        own = {name: state.select(value, place) for name, value in self.condition.items()}
        facts = {"name": [self.names[i] for i in index]}
        return Batch(own[CANVAS], {**own, PICTURE: self.values[place]}, facts)


def shown(path: Path, values: Mapping[str, str], about: Mapping[str, Any]) -> Shown:
    """The pictures at `path`, to be described by a run.

    Args:
        path: a picture, or a folder of pictures.
        values: words for all of them, see `canvas.conditions`: `text="a [MASK*3] circle"`.
        about: facts of the run's data.
    """
    x, names = looked_at(path, about)
    found = conditions(values, len(x), about)
    if CANVAS not in found:
        found |= conditions({"length": str(about["length"])}, len(x), about)
    return Shown(x, names, found, about)


def write(batch: Batch, folder: Path, about: Mapping[str, Any]) -> list[Path]:
    """Append a row with `file`, `text` and `ids` for each caption to `captions.jsonl`.

    Beside the pictures it is what `read` takes for their captions.

    Args:
        batch: captions; the fact `name` is the file of each picture.
        folder: where the table is.
        about: facts of the data.
    """
    make_folder(folder)
    texts = samples.texts_of(batch, about)
    rows = zip(batch.about["name"], texts, batch.x.data, samples.real(batch), strict=True)
    with (folder / TABLE).open("a", encoding="utf-8") as table:
        for name, text, ids, mask in rows:
            row = {"file": name, "text": text, "ids": ids[mask].tolist()}
            table.write(json.dumps(row, ensure_ascii=False) + "\n")
    return [folder / TABLE]
