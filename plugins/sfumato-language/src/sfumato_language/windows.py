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

    Windows have no rows of their own, so that a corpus may exceed memory: they are numbered,
    whole ones first, document by document, then those of what is left, and found when asked for.

    Attributes:
        shards: the corpus, of D documents.
        before: (D + 1,) whole windows of the documents before each, and of all.
        tails: (T,) the documents of which something is left.
        heads: (B + 1,) for each window of what is left the first of its `tails`, and T.
        pack: whether a window may hold several documents.
        about: `length`, `vocabulary`, `pack`, `tokenizer`, and `lengths`: the (tokens, windows) of
            each size, of windows that are not packed.
        chosen: numbers of the windows that are meant, in order; None: all.
    """

    shards: Shards
    before: NDArray[np.int64]
    tails: NDArray[np.int64]
    heads: NDArray[np.int64]
    pack: bool
    about: Mapping[str, Any]
    chosen: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._numbers())

    def keys(self) -> Sequence[str]:
        """The document, or group of documents, of each window."""
        document, full, bins = self._places()
        leader = np.arange(len(self.shards.ends))
        leader[self.tails] = self.tails[self.heads[self._bins()]]
        group = np.empty(len(full), np.int64)
        group[full], group[~full] = leader[document], self.tails[self.heads[bins]]
        return replace(self.shards.keys, chosen=group)

    def documents(self) -> NDArray[np.int64]:
        """The documents that any of the windows has a piece of, in their order."""
        document, _, bins = self._places()
        left = self.tails[np.isin(self._bins(), bins)]
        return np.unique(np.concatenate((document, left)))

    def of(self, index: int) -> list[Segment]:
        """The pieces of a window, in their order."""
        number, length, ends = int(self._numbers()[index]), self.about["length"], self.shards.ends
        left = number - int(self.before[-1])
        if left < 0:
            document = int(np.searchsorted(self.before, number, side="right")) - 1
            start = int(ends[document - 1]) if document else 0
            at = start + (number - int(self.before[document])) * length
            return [Segment(document, at, length)]
        found = []
        for document in self.tails[self.heads[left] : self.heads[left + 1]].tolist():
            end, start = int(ends[document]), int(ends[document - 1]) if document else 0
            rest = (end - start) % length
            found.append(Segment(document, end - rest, rest))
        return found

    def part(self, index: Sequence[int]) -> Windows:
        """Some of the windows, in that order."""
        numbers = self._numbers()
        return replace(self, chosen=np.array([numbers[i] for i in index], dtype=np.int64))

    def _numbers(self) -> Any:
        """The numbers of the windows."""
        whole = int(self.before[-1]) + len(self.heads) - 1
        return range(whole) if self.chosen is None else self.chosen

    def _bins(self) -> NDArray[np.int64]:
        """(T,) which window of what is left each of `tails` is in."""
        found: NDArray[np.int64] = np.repeat(np.arange(len(self.heads) - 1), np.diff(self.heads))
        return found

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Documents of the whole windows, which are whole, and which of the others each is."""
        numbers = np.asarray(self._numbers(), dtype=np.int64)
        full = numbers < self.before[-1]
        document = np.searchsorted(self.before, numbers[full], side="right") - 1
        return document, full, numbers[~full] - self.before[-1]

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
    sizes = shards.lengths
    whole, rest = sizes // length, sizes % length
    bins, tails = _bins(rest, length if pack else 0), np.flatnonzero(rest)
    heads = np.append(np.flatnonzero(np.diff(bins[tails], prepend=-1)), len(tails))
    tokenizer = shards.tokenizer
    about: dict[str, Any] = {
        "length": length,
        "vocabulary": tokenizer.size,
        "pack": pack,
        "tokenizer": tokenizer.facts(),
    }
    if not pack:
        found = np.stack(np.unique(rest[tails], return_counts=True), 1).tolist()
        about["lengths"] = [*found, *([[length, int(whole.sum())]] if whole.any() else [])]
    return Windows(shards, np.append(0, whole.cumsum()), tails, heads, pack, about)


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
