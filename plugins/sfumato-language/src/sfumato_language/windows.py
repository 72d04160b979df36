"""Windows of a fixed length out of documents: what a model of text is trained on."""

from __future__ import annotations

__all__ = ["DOCUMENT", "Segment", "Windows", "read"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato import Batch, InputError, Padded

from .reading import Reading
from .shards import Shards, corpus
from .tokens import Tokenizer

DOCUMENT = "document"
"""Condition (B, L) of packed windows: the number of its document within the window, by token."""


class Segment(NamedTuple):
    """A piece of a document in a window: tokens `start` to `start + length` of the corpus."""

    document: int
    start: int
    length: int


@dataclass(frozen=True, eq=False)
class Windows:
    """A `Dataset` of windows of token ids.

    A document is cut into windows; what is left at its end goes into a window of its own or, if
    `pack`, into one with the ends of the next documents, as long as they fit. A network is told
    where a document ends (condition `document`), so that attention does not cross. Windows that
    share a document, or hold several, have one key: a split never parts a document.

    Attributes:
        shards: the corpus.
        first: (W + 1,) number of the first segment of each window, and of all segments.
        segments: (S, 3) rows as `Segment`.
        group: (W,) document whose key a window has.
        pack: whether a window may hold several documents.
        about: `length`, `vocabulary`, `pack`, `tokenizer`, and `lengths`: the (tokens, windows) of
            each size, of windows that are not packed.
    """

    shards: Shards
    first: NDArray[np.int64]
    segments: NDArray[np.int64]
    group: NDArray[np.int64]
    pack: bool
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.group)

    def keys(self) -> Sequence[str]:
        """The document, or group of documents, of each window."""
        return replace(self.shards.keys, chosen=self.group)

    def of(self, index: int) -> list[Segment]:
        """The pieces of a window, in their order."""
        rows = self.segments[self.first[index] : self.first[index + 1]]
        return [Segment(*row) for row in rows.tolist()]

    def part(self, index: Sequence[int]) -> Windows:
        """Some of the windows, in that order."""
        rows = [self.segments[self.first[i] : self.first[i + 1]] for i in index]
        first = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        chosen = np.concatenate([self.segments[:0], *rows])
        return replace(self, first=first, segments=chosen, group=self.group[list(index)])

    def batch(self, index: Sequence[int]) -> Batch:
        """The windows at `index`: `Padded` ids, with the condition `document` if packed.

        Raises:
            InputError: for ids that the tokenizer has not, as on a damaged disk.
        """
        parts = [self.of(i) for i in index]
        used = [sum(piece.length for piece in part) for part in parts]
        width = self.about["length"] if self.pack else max(used, default=0)
        ids = np.full((len(parts), width), self.shards.tokenizer.eos, dtype=np.int64)
        owner = np.full((len(parts), width), -1, dtype=np.int64)
        for row, part in enumerate(parts):
            at = 0
            for number, (_, start, length) in enumerate(part):
                ids[row, at : at + length] = self.shards.tokens[start : start + length]
                owner[row, at : at + length] = number
                at += length
        size = self.shards.tokenizer.size
        if ids.size and ids.max() >= size:
            raise InputError(
                f"{getattr(self.shards.tokens, 'filename', 'the corpus')} is damaged: it has the "
                f"token {ids.max()}, and its tokenizer has 0 to {size - 1}; take its folder away, "
                "and it is made anew"
            )
        document = torch.from_numpy(owner)
        x = Padded(torch.from_numpy(ids), document >= 0)
        return Batch(x, {DOCUMENT: document} if self.pack else {})


def cut(shards: Shards, length: int, pack: bool) -> Windows:
    """A corpus in windows of `length` tokens.

    Raises:
        InputError: if the length is below 2.
    """
    if length < 2:
        raise InputError(f"a window has two tokens or more, not length={length}")
    sizes, ends = shards.lengths, shards.ends
    starts = ends - sizes
    whole, rest = sizes // length, sizes % length
    bins = _bins(rest, length if pack else 0)
    # whole windows first, document by document, then the windows of what is left
    owner = np.repeat(np.arange(len(sizes)), whole)
    place = np.arange(len(owner)) - np.repeat(whole.cumsum() - whole, whole)
    full = np.stack((owner, starts[owner] + place * length, np.full_like(owner, length)), 1)
    tails = np.flatnonzero(rest)
    left = np.stack((tails, ends[tails] - rest[tails], rest[tails]), 1)
    heads = np.flatnonzero(np.diff(bins[tails], prepend=-1))  # first tail of each bin
    leader = np.arange(len(sizes))
    leader[tails] = tails[heads][bins[tails]] if len(tails) else tails
    first = np.concatenate(
        (np.arange(len(full)), len(full) + heads, [len(full) + len(left)])
    ).astype(np.int64)
    tokenizer = shards.tokenizer
    about: dict[str, Any] = {
        "length": length,
        "vocabulary": tokenizer.size,
        "pack": pack,
        "tokenizer": tokenizer.facts(),
    }
    if not pack:
        found = np.unique(np.concatenate((full[:, 2], left[:, 2])), return_counts=True)
        about["lengths"] = np.stack(found, 1).tolist()
    group = np.concatenate((leader[owner], tails[heads]))
    return Windows(shards, first, np.concatenate((full, left)), group, pack, about)


def _bins(rest: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    """The window that each rest goes to, in order: the last one while it fits, else a new one."""
    found = np.full(len(rest), -1, dtype=np.int64)
    current, used = -1, room
    for i, size in enumerate(rest.tolist()):
        if size:
            if current < 0 or used + size > room:
                current, used = current + 1, 0
            found[i] = current
            used += size
    return found


def read(
    path: Path,
    *,
    length: int = 128,
    tokenizer: str | Tokenizer = "char",
    vocabulary: int = 1024,
    pack: bool = True,
    documents: Literal["file", "paragraph", "line"] = "file",
    column: str = "text",
    empty: Literal["refuse", "skip"] = "refuse",
) -> Windows:
    """Text at `path` as windows of ids.

    Args:
        path: a file, a folder of files, or a pattern (`books/*.txt`): see `reading.documents`.
        length: tokens of a window.
        tokenizer: see `tokens.TokenizerName`, or one that there is.
        vocabulary: tokens of `bpe`, at most.
        pack: put the ends of several documents into one window, else each is padded.
        documents: what of a plain text is a document: the file, a paragraph or a line.
        column: of tables and JSON lines, where the text is.
        empty: refuse empty documents, or skip them.

    Raises:
        InputError: if there is nothing there that can be read; names file and place.
    """
    return cut(corpus(path, Reading(documents, column, empty), tokenizer, vocabulary), length, pack)
