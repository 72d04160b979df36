"""A corpus as token ids on disk: made once, mapped into memory, kept by its content.

A folder of the data cache, `tokens/<key>`, holds `tokens.bin` (the ids of all documents, each with
its end), `names.bin` (the name of each), `documents.bin` (for each, how many tokens, characters and
bytes of names there are to its end) and `shards.json`; it is there whole or not at all. The key is
a hash of the files, of how they are read, and of the tokenizer. It is written document by document.
"""

from __future__ import annotations

__all__ = ["Names", "Shards", "corpus"]

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato import InputError
from sfumato_data.sources import cache
from sfumato_train.files import read_json, write_json
from sfumato_train.folders import placed, swept

from .reading import Document, Reading, documents, files_of
from .tokens import Tokenizer, made, rebuilt

FORMAT = 3
"""Of the folder; part of the key, so that older ones are left alone."""

_ANY = "surrogateescape"  # names of files need not be UTF-8


@dataclass(frozen=True, eq=False)
class Names(Sequence[str]):
    """Names in a file, read when they are asked for.

    Attributes:
        content: all of them in UTF-8, one after the other, mapped from disk.
        ends: (D,) where each ends.
        chosen: which of them are meant, in order; None: all.
    """

    content: NDArray[np.uint8]
    ends: NDArray[np.int64]
    chosen: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ends if self.chosen is None else self.chosen)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        i = range(len(self))[place] if self.chosen is None else int(self.chosen[place])
        start = self.ends[i - 1] if i else 0
        return self.content[start : self.ends[i]].tobytes().decode(errors=_ANY)


@dataclass(frozen=True, eq=False)
class Shards:
    """Documents as ids.

    Attributes:
        tokens: (N,) ids of all documents one after the other, mapped from disk.
        ends: (D,) where each document ends, its end token included; mapped too.
        characters: (D,) characters of each.
        keys: the name of each.
        tokenizer: what made the ids.
    """

    tokens: NDArray[Any]
    ends: NDArray[np.int64]
    characters: NDArray[np.int64]
    keys: Names
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
    end = np.array(tokenizer.eos, dtype).tobytes()
    sums = np.zeros(3, np.int64)  # of tokens, characters and bytes of names
    swept(folder.parent, "*")
    with placed(folder, replace=True) as beside:
        with (
            (beside / "tokens.bin").open("wb") as tokens,
            (beside / "names.bin").open("wb") as names,
            (beside / "documents.bin").open("wb") as rows,
        ):
            for document in documents(path, reading):
                ids, name = _ids(document, tokenizer), document.key.encode(errors=_ANY)
                tokens.write(ids.astype(dtype).tobytes())
                tokens.write(end)
                names.write(name)
                sums += (len(ids) + 1, len(document.text), len(name))
                rows.write(sums.tobytes())
        if not sums[0]:
            raise InputError(f"there is no document in {path}")
        facts = {"dtype": dtype.str, "tokens": int(sums[0]), "tokenizer": tokenizer.facts()}
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
        tokens = np.memmap(folder / "tokens.bin", dtype=facts["dtype"], mode="r")
        names = np.memmap(folder / "names.bin", dtype=np.uint8, mode="r")
        rows = np.memmap(folder / "documents.bin", dtype=np.int64, mode="r").reshape(-1, 3)
        ends, characters = rows[:, 0], np.diff(rows[:, 1], prepend=0)
        if len(tokens) == facts["tokens"] == ends[-1] and len(names) == rows[-1, 2]:
            keys = Names(names, rows[:, 2])
            return Shards(tokens, ends, characters, keys, rebuilt(facts["tokenizer"]))
    except (InputError, KeyError, OSError, TypeError, ValueError):
        pass
    return None
