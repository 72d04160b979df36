"""The Brown corpus as it stands in its packages: words with tags, here made plain text again.

Francis & Kucera, "A Standard Corpus of Present-Day Edited American English", 1964.
"""

from __future__ import annotations

__all__ = ["files", "is_brown", "text"]

import re
from pathlib import Path

from sfumato import InputError

_AFTER = re.compile(r" +([.,;:?!)\]]|'')(?= |$)")
_BEFORE = re.compile(r"(?:(?<= )|^)(``|[(\[]) +")


def is_brown(folder: Path) -> bool:
    """Whether a folder holds the corpus in its tagged form."""
    return (folder / "cats.txt").is_file() and (folder / "ca01").is_file()


def files(folder: Path) -> list[Path]:
    """Its documents, in the order of their names."""
    return sorted(folder.glob("c[a-r][0-9][0-9]"))


def text(file: Path) -> str:
    """A document in plain text: sentences on one line, punctuation and quotes as one writes them.

    Raises:
        InputError: if a word has no tag.
    """
    words = []
    for word in file.read_text(encoding="latin-1").split():
        plain, slash, _ = word.rpartition("/")
        if not slash:
            raise InputError(f"{file} has the word {word!r} without a tag")
        words.append(plain)
    joined = _BEFORE.sub(r"\1", _AFTER.sub(r"\1", " ".join(words)))
    return joined.replace("``", '"').replace("''", '"')
