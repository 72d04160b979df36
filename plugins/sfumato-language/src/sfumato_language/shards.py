"""A corpus as token ids on disk: made once, mapped into memory, kept by its content.

A folder of the data cache, `tokens/<key>`, holds `tokens.bin` (the ids of all documents, each with
its end), `ends.npy`, `characters.npy`, `keys.json` and `shards.json`; it is there whole or not at
all. The key is a hash of the files, of how they are read, and of the tokenizer.
"""

from __future__ import annotations

__all__ = ["Shards", "corpus"]

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato import InputError
from sfumato_data.sources import cache
from sfumato_train.files import read_json, write_json
from sfumato_train.folders import placed

from .reading import Document, Reading, documents, files_of
from .tokens import Tokenizer, made, rebuilt

FORMAT = 2
"""Of the folder; part of the key, so that older ones are left alone."""


@dataclass(frozen=True, eq=False)
class Shards:
    """Documents as ids.

    Attributes:
        tokens: (N,) ids of all documents one after the other, mapped from disk.
        ends: (D,) where each document ends, its end token included.
        characters: (D,) characters of each.
        keys: the name of each.
        tokenizer: what made the ids.
    """

    tokens: NDArray[Any]
    ends: NDArray[np.int64]
    characters: NDArray[np.int64]
    keys: list[str]
    tokenizer: Tokenizer

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(D,) tokens of each document."""
        return np.diff(self.ends, prepend=0)


def corpus(path: Path, reading: Reading, tokenizer: str | Tokenizer, vocabulary: int) -> Shards:
    """The documents at a path as ids, from the cache where they are there already.

    Args:
        path: file, folder or pattern.
        reading: how files become documents.
        tokenizer: one, or the name of one (`tokens.TokenizerName`).
        vocabulary: tokens of a trained one.

    Raises:
        InputError: if something cannot be read, has no token, or there is no document.
    """
    key = _key(path, reading, tokenizer, vocabulary)
    folder = cache() / "tokens" / key
    found = _loaded(folder)
    if found is None:
        _build(folder, path, reading, tokenizer, vocabulary)
        found = _loaded(folder)
    if found is None:
        raise InputError(f"{folder} cannot be read back; is the disk full?")
    return found


def _key(path: Path, reading: Reading, tokenizer: str | Tokenizer, vocabulary: int) -> str:
    total = hashlib.sha256(repr((FORMAT, asdict(reading))).encode())
    if isinstance(tokenizer, Tokenizer):
        total.update(tokenizer.facts()["sha256"].encode())
    elif (file := Path(tokenizer)).exists() and tokenizer not in ("byte", "char", "text8", "bpe"):
        total.update(made(str(file), (), 0).facts()["sha256"].encode())
    else:
        total.update(repr((tokenizer, vocabulary if tokenizer == "bpe" else 0)).encode())
    root = path if path.is_dir() else path.parent
    for file in files_of(path):
        name = file.relative_to(root) if file.is_relative_to(root) else file
        total.update(f"\0{name.as_posix()}\0".encode(errors="surrogateescape"))
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:32]


def _texts(path: Path, reading: Reading) -> Iterator[str]:
    return (document.text for document in documents(path, reading))


def _build(
    folder: Path, path: Path, reading: Reading, tokenizer: str | Tokenizer, vocabulary: int
) -> None:
    if isinstance(tokenizer, str):
        tokenizer = made(tokenizer, _texts(path, reading), vocabulary)
    dtype = np.dtype("<u2" if tokenizer.size <= 1 << 16 else "<u4")
    keys: list[str] = []
    lengths: list[int] = []
    characters: list[int] = []
    with placed(folder, replace=True) as beside:
        with (beside / "tokens.bin").open("wb") as file:
            for document in documents(path, reading):
                ids = np.append(_ids(document, tokenizer), tokenizer.eos)
                ids.astype(dtype).tofile(file)
                keys.append(document.key)
                lengths.append(len(ids))
                characters.append(len(document.text))
        if not keys:
            raise InputError(f"there is no document in {path}")
        np.save(beside / "ends.npy", np.cumsum(lengths, dtype=np.int64))
        np.save(beside / "characters.npy", np.asarray(characters, dtype=np.int64))
        (beside / "keys.json").write_text(json.dumps(keys), encoding="utf-8")
        facts = {"dtype": dtype.str, "tokens": sum(lengths), "tokenizer": tokenizer.facts()}
        write_json(beside / "shards.json", facts)


def _ids(document: Document, tokenizer: Tokenizer) -> NDArray[np.int64]:
    try:
        ids = tokenizer.encode(document.text)
    except InputError as error:
        raise InputError(f"document {document.key}: {error}") from None
    if len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.size:
        raise InputError(
            f"document {document.key} has the token {ids.max()}, and those of its tokenizer are 0 "
            f"to {tokenizer.size - 1}"
        )
    return ids


def _loaded(folder: Path) -> Shards | None:
    """What a folder holds; None if it is not there, or damaged and to be made anew."""
    try:
        facts = read_json(folder / "shards.json")
        ends = np.load(folder / "ends.npy", allow_pickle=False)
        characters = np.load(folder / "characters.npy", allow_pickle=False)
        keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
        tokens = np.memmap(folder / "tokens.bin", dtype=facts["dtype"], mode="r")
        whole = len(tokens) == facts["tokens"] == int(ends[-1])
        if whole and len(ends) == len(characters) == len(keys):
            return Shards(tokens, ends, characters, keys, rebuilt(facts["tokenizer"]))
    except (InputError, KeyError, OSError, TypeError, ValueError):
        pass
    return None
