"""Tokenizers: bytes, characters, the 27 symbols of text8, and any file of the library tokenizers.

The ids of a text are 0 to size - 2; size - 1 ends a document, and `size` is the mask, which is
never a part of data. Both are new ids: no text can spell them.
"""

from __future__ import annotations

__all__ = [
    "MASK", "Byte", "Char", "Foreign", "Json", "Text8", "Tokenizer", "TokenizerName", "made",
    "rebuilt",
]  # fmt: skip

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfumato import InputError

from . import piecewise
from .bytewise import BYTE_OF

MASK = "\u2592"
"""How a masked token is shown."""

Ids = NDArray[np.int64]
TokenizerName = Annotated[
    str,
    Field(
        description="byte, char, text8 (a to z and space), bpe (trained on the data), or a "
        "tokenizer.json of the library tokenizers"
    ),
]


class Tokenizer:
    """Text to ids and back; subclasses say how.

    Attributes:
        size: number of ids, the end of a document among them.
    """

    kind: ClassVar[str]
    size: int

    @property
    def eos(self) -> int:
        """The id that ends a document."""
        return self.size - 1

    @property
    def mask(self) -> int:
        """The id of the mask, beyond those of data."""
        return self.size

    def encode(self, text: str) -> Ids:
        """The ids of a text, without an end.

        Raises:
            InputError: for a character that has none.
        """
        raise NotImplementedError

    def _decode(self, ids: Ids) -> str:
        raise NotImplementedError

    def content(self) -> Mapping[str, Any]:
        """What it is rebuilt from, as JSON."""
        return {}

    def decode(self, ids: Sequence[int] | Ids, *, whole: bool = False) -> str:
        """The text of ids; masked ones are shown as `MASK`.

        Args:
            ids: ids of text, end and mask.
            whole: go on behind the first end, which is shown as a line break.

        Raises:
            InputError: for an id beyond the mask.
        """
        values = np.asarray(ids, dtype=np.int64)
        last = max(self.mask, self.size - 1)
        if len(values) and not 0 <= values.min() <= values.max() <= last:
            raise InputError(f"ids are 0 to {last} here, but one is {values.max()}")
        ends = np.flatnonzero(values == self.eos)
        if len(ends) and not whole:
            values = values[: ends[0]]
        cuts = np.flatnonzero(np.diff(np.isin(values, (self.eos, self.mask)))) + 1
        return "".join(map(self._piece, np.split(values, cuts)))

    def _piece(self, ids: Ids) -> str:
        if len(ids) and ids[0] in (self.eos, self.mask):
            return "".join(MASK if i == self.mask else "\n" for i in ids.tolist())
        return self._decode(ids)

    def pieces(self) -> dict[int, bytes]:
        """The bytes that each id of text stands for, whatever is beside it.

        Raises:
            InputError: if what a token stands for depends on its neighbours.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """All of it as JSON, with its sha256: what a run keeps, and `rebuilt` takes."""
        content = dict(self.content())
        noted = json.dumps([self.kind, self.size, content], sort_keys=True)
        digest = hashlib.sha256(noted.encode()).hexdigest()
        return {"kind": self.kind, "size": self.size, "sha256": digest, **content}


class Byte(Tokenizer):
    """The bytes of UTF-8; what a model writes that is none is shown as U+FFFD."""

    kind = "byte"
    size = 257

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    def _decode(self, ids: Ids) -> str:
        return bytes(ids.tolist()).decode(errors="replace")

    def pieces(self) -> dict[int, bytes]:
        return {i: bytes([i]) for i in range(256)}


class Char(Tokenizer):
    """One id for each character that the data has, in the order of Unicode.

    Args:
        characters: all of them, sorted.
    """

    kind = "char"

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._points = _points(characters)
        if not len(self._points) or bool((np.diff(self._points.astype(np.int64)) <= 0).any()):
            raise InputError("the characters of a tokenizer are one or more, sorted, each once")
        self.size = len(self._points) + 1

    @classmethod
    def of(cls, texts: Iterable[str]) -> Char:
        """With the characters of a corpus."""
        found: set[str] = set()
        for text in texts:
            found.update(text)
        return cls("".join(sorted(found)))

    def encode(self, text: str) -> Ids:
        points = _points(text)
        ids = np.searchsorted(self._points, points).clip(max=len(self._points) - 1)
        wrong = np.flatnonzero(self._points[ids] != points)
        if len(wrong):
            point = int(points[wrong[0]])
            raise InputError(
                f"this tokenizer has no {chr(point)!r} (U+{point:04X}), which stands at "
                f"{wrong[0]} of the text; its {self.size - 1} characters are those of the data "
                "that it was made from"
            )
        return ids.astype(np.int64, copy=False)

    def _decode(self, ids: Ids) -> str:
        return self._points[ids].astype("<u4").tobytes().decode("utf-32-le")

    def pieces(self) -> dict[int, bytes]:
        return {i: c.encode(errors="surrogatepass") for i, c in enumerate(self.characters)}

    def content(self) -> Mapping[str, Any]:
        return {"characters": self.characters}


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


class Text8(Char):
    """The 27 symbols of text8: a to z and single spaces; digits are spelled, the rest is space.

    M. Mahoney, "Large Text Compression Benchmark", 2006.
    """

    kind = "text8"
    digits: ClassVar[Sequence[str]] = "zero one two three four five six seven eight nine".split()

    def __init__(self) -> None:
        super().__init__(" abcdefghijklmnopqrstuvwxyz")

    def encode(self, text: str) -> Ids:
        spelled = re.sub(r"[0-9]", lambda found: f" {self.digits[int(found[0])]} ", text.lower())
        return super().encode(re.sub(r"[^a-z]+", " ", spelled))

    def content(self) -> Mapping[str, Any]:
        return {}


class Json(Tokenizer):
    """A tokenizer of the library tokenizers (Hugging Face), from its JSON.

    Special tokens are not added, and padding and cutting are off.

    Args:
        text: the JSON.

    Raises:
        InputError: if the library does not take it.
    """

    kind = "json"

    def __init__(self, text: str) -> None:
        from tokenizers import Tokenizer as Library

        try:
            self._library = Library.from_str(text)
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(f"this is no JSON of the library tokenizers: {error}") from None
        self._library.no_padding()
        self._library.no_truncation()
        self.text = text
        ids = self._library.get_vocab(with_added_tokens=True).values()
        self.size = max(ids, default=-1) + 2  # ids may have gaps, so that they are not counted
        if self.size < 2:
            raise InputError("this tokenizer has no tokens")

    @classmethod
    def trained(cls, texts: Iterable[str], size: int) -> Json:
        """Byte-pair encoding of bytes, trained on a corpus (Sennrich et al., arXiv:1508.07909)."""
        from tokenizers import Tokenizer as Library
        from tokenizers import decoders, models, pre_tokenizers, trainers

        library: Any = Library(models.BPE())
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False
        )
        library.train_from_iterator(piecewise.cut(texts), trainer)
        return cls(library.to_str())

    def encode(self, text: str) -> Ids:
        return piecewise.ids_of(self._encoded, text)

    def _encoded(self, text: str) -> Any:
        try:
            return self._library.encode(text, add_special_tokens=False)
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(f"this tokenizer does not take the text: {error}") from None

    def _decode(self, ids: Ids) -> str:
        return str(self._library.decode(ids.tolist(), skip_special_tokens=False))

    def pieces(self) -> dict[int, bytes]:
        from tokenizers import decoders

        if not isinstance(self._library.decoder, decoders.ByteLevel):
            raise InputError(
                "the bytes of single tokens are known of byte, char and text8, and of tokenizers "
                "of byte pairs (ByteLevel), not of this one"
            )
        added = self._library.get_added_tokens_decoder()
        words = self._library.get_vocab(with_added_tokens=False)
        return {
            i: bytes(BYTE_OF[c] for c in word)
            for word, i in words.items()
            if i not in added and all(c in BYTE_OF for c in word)
        }

    def content(self) -> Mapping[str, Any]:
        packed = base64.b85encode(zlib.compress(self.text.encode(), 9)).decode()
        return {"json": packed}


class Foreign(Json):
    """The tokenizer of somebody else's model, whose end and mask are ids of its own.

    Args:
        text: the JSON.
        eos: id that ends a document.
        mask: id of the mask.
    """

    kind = "foreign"

    def __init__(self, text: str, eos: int, mask: int) -> None:
        super().__init__(text)
        self.size -= 1  # no new end
        self._ids = eos, mask

    @property
    def eos(self) -> int:
        return self._ids[0]

    @property
    def mask(self) -> int:
        return self._ids[1]

    def encode(self, text: str) -> Ids:
        ids = super().encode(text)
        if bool((ids == self.mask).any()):
            word = self._library.id_to_token(self.mask)
            raise InputError(f"the text spells {word}, which is the mask of this tokenizer")
        return ids

    def id_of(self, *tokens: str) -> int | None:
        """The id of the first of some tokens that it has."""
        ids = (self._library.token_to_id(token) for token in tokens)
        return next((i for i in ids if i is not None), None)

    def content(self) -> Mapping[str, Any]:
        return {**super().content(), "eos": self.eos, "mask": self.mask}


def made(name: str, texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """The tokenizer of a name (`TokenizerName`).

    Args:
        name: which.
        texts: the corpus; gone through where the tokenizer is made from it.
        vocabulary: tokens of `bpe`, at most.

    Raises:
        InputError: for an unknown name, or a file that is no tokenizer.
    """
    match name:
        case "byte":
            return Byte()
        case "char":
            return Char.of(texts)
        case "text8":
            return Text8()
        case "bpe":
            return Json.trained(texts, vocabulary)
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"tokenizer={name}: accepted are byte, char, text8, bpe, and the path of a "
            "tokenizer.json or of a folder with one"
        )
    try:
        return Json(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, InputError) as error:
        raise InputError(f"{file} is no tokenizer: {error}") from None


def rebuilt(facts: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a run keeps.

    Raises:
        InputError: if what is kept is damaged: its sha256 is another.
    """
    return _rebuilt(json.dumps(facts, sort_keys=True))


@lru_cache(8)
def _rebuilt(noted: str) -> Tokenizer:
    facts = json.loads(noted)
    kind = facts.get("kind")
    try:
        found: Tokenizer
        match kind:
            case "byte":
                found = Byte()
            case "char":
                found = Char(facts["characters"])
            case "text8":
                found = Text8()
            case "json":
                found = Json(_unpacked(facts))
            case "foreign":
                found = Foreign(_unpacked(facts), int(facts["eos"]), int(facts["mask"]))
            case _:
                raise InputError(f"there is no kind of tokenizer {kind!r}")
    except (InputError, KeyError, ValueError, zlib.error) as error:
        raise InputError(f"the tokenizer of the run is damaged: {error}") from None
    if facts.get("sha256") != found.facts()["sha256"]:
        raise InputError(
            f"the tokenizer of the run is damaged or not its own: its sha256 is "
            f"{found.facts()['sha256'][:12]}, and {str(facts.get('sha256'))[:12]} is noted"
        )
    return found


def _unpacked(facts: Mapping[str, Any]) -> str:
    return zlib.decompress(base64.b85decode(facts["json"])).decode()
