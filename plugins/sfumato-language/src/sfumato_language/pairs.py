"""Prompts with their responses: what a model is trained on that answers.

An item is `prompt, separator, response, end` as ids, filled up with ends to the length of a window,
so that where to stop is a part of what is learned (Nie et al. 2025, arXiv:2502.09992, section 2.3).
"""

from __future__ import annotations

__all__ = ["Pairs", "demo_path", "read"]

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato import Batch, InputError, Padded
from sfumato_data.sources import cache
from sfumato_train.files import make_folder, write_text

from .canvas import CANVAS
from .reading import files_of, json_rows
from .tokens import Tokenizer, made

EXAMPLES = 16
"""Prompts that the facts keep, for samples that nothing else is asked of."""
_KINDS = (".jsonl", ".ndjson", ".gz")


class Pair(NamedTuple):
    """A prompt, its response, and where they stand: the answers of a chat share a key."""

    key: str
    where: str
    prompt: str
    response: str


@dataclass(frozen=True, eq=False)
class Pairs:
    """A `Dataset` of token ids, each item with its condition `canvas`: the prompt, then masks.

    Attributes:
        ids: (N, L) ids.
        begin: (N,) where the response begins.
        names: of the items, by which they are split.
        tokenizer: what made the ids.
        about: `length`, `vocabulary`, `pack`, `tokenizer`, `opening`, `separator`, `examples`.
    """

    ids: NDArray[Any]
    begin: NDArray[np.int64]
    names: Sequence[str]
    tokenizer: Tokenizer
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self) -> Sequence[str]:
        """The file and line of each item."""
        return self.names

    def batch(self, index: Sequence[int]) -> Batch:
        """The items at `index`: `Padded` ids and `canvas`."""
        ids = torch.from_numpy(self.ids[list(index)].astype(np.int64))
        begin = torch.from_numpy(self.begin[list(index)])
        answer = torch.arange(ids.shape[1]) >= begin[:, None]
        every = torch.ones_like(answer)
        canvas = Padded(ids.masked_fill(answer, self.tokenizer.mask), every)
        return Batch(Padded(ids, every), {CANVAS: canvas})


def read(
    path: Path,
    *,
    length: int = 128,
    tokenizer: str | Tokenizer = "char",
    vocabulary: int = 1024,
    separator: str = "\n",
    opening: str = "",
) -> Pairs:
    """Pairs in JSON lines at `path`: a file, a folder of files, or a pattern.

    A line has `prompt` and `response`, or `messages`, a chat: a list of `role` ("system", "user",
    "assistant") and `content`. Each turn of the assistant is a response, and all that was said
    before, joined by the separator, its prompt.

    Args:
        path: where they are.
        length: tokens of an item.
        tokenizer: see `tokens.TokenizerName`, or one that there is.
        vocabulary: tokens of `bpe`, at most.
        separator: text between prompt and response.
        opening: text before the prompt; with it, as with the separator, goes one prompt and no
            longer chat.

    Raises:
        InputError: for a line of another form, an empty prompt or response, a pair that is longer
            than `length`, and a longer chat where there is an opening; names file and line.
    """
    found = list(_pairs(path, separator, single=bool(opening)))
    if not found:
        raise InputError(f"there is no pair of prompt and response in {path}")
    if isinstance(tokenizer, str):
        texts = (opening + p.prompt + separator + p.response for p in found)
        tokenizer = made(tokenizer, texts, vocabulary)
    ids = np.full((len(found), length), tokenizer.eos, np.dtype("<u4"))
    begin = np.zeros(len(found), np.int64)
    for i, pair in enumerate(found):
        try:
            asked = tokenizer.encode(opening + pair.prompt + separator)
            said = tokenizer.encode(pair.response)
        except InputError as error:
            raise InputError(f"{pair.where}: {error}") from None
        if len(asked) + len(said) + 1 > length:
            raise InputError(
                f"{pair.where}: prompt and response have {len(asked)} + {len(said)} tokens and an "
                f"end, more than the {length} of an item; take it out, or raise length"
            )
        ids[i, : len(asked) + len(said)] = np.concatenate((asked, said))
        begin[i] = len(asked)
    about = {
        "length": length,
        "vocabulary": tokenizer.size,
        "pack": False,
        "tokenizer": tokenizer.facts(),
        "opening": opening,
        "separator": separator,
        "examples": [pair.prompt for pair in found[:EXAMPLES]],
    }
    return Pairs(ids, begin, [pair.key for pair in found], tokenizer, about)


def _pairs(path: Path, separator: str, single: bool) -> Iterator[Pair]:
    root = path if path.is_dir() else path.parent
    for file in files_of(path):
        if file.suffix.lower() not in _KINDS:
            raise InputError(f"{file}: pairs are read from JSON lines, .jsonl or .ndjson")
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
        for place, row in json_rows(file):
            where = f"line {place} of {file}"
            for prompt, response in _turns(row, separator, where, single):
                if not prompt.strip() or not response.strip():
                    raise InputError(f"{where} has an empty prompt or response")
                yield Pair(f"{name}:{place}", where, prompt, response)


def _turns(
    row: Mapping[str, Any], separator: str, where: str, single: bool
) -> list[tuple[str, str]]:
    both = row.get("prompt"), row.get("response")
    if isinstance(both[0], str) and isinstance(both[1], str):
        return [(both[0], both[1])]
    chat = row.get("messages")
    if not isinstance(chat, list):
        raise InputError(
            f"{where} has neither texts `prompt` and `response` nor a list `messages`; there is "
            f"{', '.join(map(str, row)) or 'nothing'}"
        )
    said: list[str] = []
    found = []
    for turn in chat:
        role, content = (
            (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        )
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise InputError(
                f"{where}: a message has a `role`, system, user or assistant, and a text `content`"
            )
        if role == "assistant":
            if single and len(said) != 1:
                raise InputError(
                    f"{where} is a chat of several turns, and a template of one prompt is asked for"
                )
            found.append((separator.join(said), content))
        said.append(content)
    if not found:
        raise InputError(f"{where} is a chat in which no assistant speaks")
    return found


def demo_path() -> Path:
    """A file of the 2,500 sums of two numbers below 50, in the cache of data."""
    file = cache() / "sums" / "pairs.jsonl"
    if not file.is_file():
        some = ((a, b) for a in range(50) for b in range(50))
        rows = ({"prompt": f"{a} + {b}", "response": f"{a + b}"} for a, b in some)
        make_folder(file.parent)
        write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
    return file
