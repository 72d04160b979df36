"""Samples as text: written as JSON lines, plain text or FASTA, and read back."""

from __future__ import annotations

__all__ = ["NAME", "SUFFIXES", "read_back", "texts_of", "write"]

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, InputError, Padded
from sfumato_data import Tensors, join
from sfumato_train.files import write_text

from .tokens import rebuilt
from .windows import DOCUMENT

NAME = "samples.jsonl"
"""The file of samples in a folder."""

SUFFIXES = (".jsonl", ".txt", ".fasta", ".fa")
"""Of files that samples are written to, in place of a folder."""


def real(batch: Batch) -> Tensor:
    """(B, L) bool: which tokens of a batch belong to a document."""
    x: Padded = batch.x
    document = batch.condition.get(DOCUMENT)
    return x.mask if document is None else x.mask & (document >= 0)


def texts_of(batch: Batch, about: Mapping[str, Any], *, whole: bool = False) -> list[str]:
    """The text of each item; `whole`: also what stands behind the end of the document."""
    tokenizer, valid = rebuilt(about["tokenizer"]), real(batch)
    first = int(about.get("begin") is not None)  # what every text begins with is none of it
    return [
        tokenizer.decode(ids[mask][first:].tolist(), whole=whole)
        for ids, mask in zip(batch.x.data, valid, strict=True)
    ]


def write(batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write samples, whole or not at all.

    Args:
        batch: the samples.
        path: a `.jsonl` file (a row with `text` and `ids` each), a `.txt` file (texts with an
            empty line between), a `.fasta` or `.fa` file (a sequence each), or a folder, in which
            `samples.jsonl` is written.
        about: facts of the data.
    """
    texts = texts_of(batch, about)
    if path.suffix == ".txt":
        write_text(path, "\n\n".join(texts) + "\n")
        return [path]
    if path.suffix in (".fasta", ".fa"):
        write_text(path, "".join(f">sample-{i}\n{text}\n" for i, text in enumerate(texts, 1)))
        return [path]
    file = path if path.suffix == ".jsonl" else path / NAME
    rows = zip(texts, batch.x.data, real(batch), strict=True)
    lines = (
        json.dumps({"text": text, "ids": ids[mask].tolist()}, ensure_ascii=False)
        for text, ids, mask in rows
    )
    write_text(file, "".join(line + "\n" for line in lines))
    return [file]


def read_back(path: Path, about: Mapping[str, Any]) -> Tensors | None:
    """What `write` wrote to a folder or a `.jsonl` file, token by token; None if it is another.

    Raises:
        InputError: if an id is none of the tokenizer.
    """
    file = path / NAME if path.is_dir() else path
    if file.suffix != ".jsonl" or not file.is_file():
        return None
    parts = []
    with file.open("rb") as lines:
        for place, line in enumerate(lines, start=1):
            ids = _ids_of(line)
            if ids is None:
                return None
            if ids and not 0 <= min(ids) <= max(ids) < about["vocabulary"]:
                raise InputError(
                    f"line {place} of {file} has a token that is none of the "
                    f"{about['vocabulary']} of the run"
                )
            row = torch.tensor([ids], dtype=torch.long)
            parts.append(Padded(row, torch.ones_like(row, dtype=torch.bool)))
    return Tensors(join(parts), {}, about) if parts else None


def _ids_of(line: bytes) -> list[int] | None:
    """The token ids of a sample that `write` wrote; None if it is another line."""
    try:
        ids = json.loads(line)["ids"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    own = isinstance(ids, list) and all(type(i) is int for i in ids)
    return ids if own else None
