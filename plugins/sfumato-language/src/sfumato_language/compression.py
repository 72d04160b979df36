"""Lossless compression of text by a masked model and a range coder.

A model of any order takes any order of coding (Hoogeboom et al. 2021, arXiv:2110.02037, section
4.2). Here a window is coded in strides: with C calls of the network, the k-th is about the places
k, k + C, k + 2C, ... at once. What one call codes lies far apart, so that its tokens have little to
tell each other, and what stands before a place is known to the beginning of its stride: a token is
cheaper when its neighbours are known than when as many others are. The decoder makes the same
calls on the same states.

That is exact only if both compute the same numbers, bit for bit. Logits are rounded to 1/1024
before they become probabilities, batches of a text have one shape, and a file has marks of the
model, the versions, the processor and the number of threads it was written with; others refuse it.

A file is "SFZ3"; 4 bytes of a hash of each of the model, the versions and the processor; the
numbers of threads, tokens, places of a window, and calls, in groups of 7 bits, the lowest first and
all but the last with the top bit set; the code; and the CRC-32 of all of it: about 25 bytes besides
the code. That has as few bytes as tell the interval of the range coder, as if zeros followed.
"""

from __future__ import annotations

__all__ = ["CALLS", "Coder", "Header", "Packed", "header"]

import hashlib
import platform
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import sfumato
from sfumato import InputError, Model, Padded
from sfumato_train.drawing import device_of
from sfumato_train.linked import digest

from .denoiser import masked
from .tokens import Tokenizer

CALLS = 32
"""Calls of the network for each batch of windows, at most."""

_MAGIC, _BATCH, _GRID, _LARGEST, _MARK = b"SFZ3", 8, 1024.0, 1 << 30, 4


class Packed(NamedTuple):
    """A compressed text.

    Attributes:
        content: the file.
        bits: what the model gives the tokens, in bits; the code is a little longer.
    """

    content: bytes
    bits: float


@dataclass(frozen=True, eq=False)
class Coder:
    """A model that compresses texts, and reads what it wrote.

    Attributes:
        model: of text.
        tokenizer: its tokenizer.
        length: tokens of its windows.
    """

    model: Model
    tokenizer: Tokenizer
    length: int

    @cached_property
    def _weights(self) -> str:
        return digest(self.model.denoiser)[:16]

    def fingerprint(self) -> dict[str, str]:
        """What the numbers depend on, besides the number of threads."""
        return {
            "model": self._weights,
            "version of sfumato or torch": f"{sfumato.__version__}, {torch.__version__}",
            "processor": f"{device_of(self.model).type}, {platform.machine()} "
            f"{torch.backends.cpu.get_cpu_capability()}",
        }

    def compress(self, text: str, *, calls: int = CALLS) -> Packed:
        """A text as a file that `decompress` turns back into it.

        Args:
            text: any text that the tokenizer gives back as it was.
            calls: of the network for each batch of 8 windows; more calls, fewer bits.

        Raises:
            InputError: for a text that the tokenizer changes (text8 drops capitals), or has no
                tokens for.
        """
        import constriction

        ids = self.tokenizer.encode(text)
        if self.tokenizer.decode(ids) != text:
            raise InputError(
                f"the tokenizer of this model ({self.tokenizer.kind}) does not give this text back "
                "as it was, so that nothing it compresses would be lossless; train one by bytes, "
                "characters or bpe"
            )
        if calls < 1:
            raise InputError(f"at least one call is needed, not calls={calls}")
        calls = min(calls, self.length)
        encoder, bits, law = constriction.stream.queue.RangeEncoder(), 0.0, _law()
        for start, rows in _batches(len(ids), self.length):
            x = torch.full(rows.shape, self.tokenizer.mask)
            known = torch.from_numpy(ids[start : start + int(rows.sum())])
            clean = x.masked_scatter(rows, known)
            for group in _groups(rows, calls):
                p = self._probabilities(x, rows, group)
                symbols = clean[group].numpy()
                encoder.encode(symbols.astype(np.int32), law, p)
                picked = np.take_along_axis(p, symbols[:, None], 1).astype(float)
                bits -= float(np.log2(np.maximum(picked, 2.0**-24)).sum())
                x = torch.where(group, clean, x)
        head = Header(
            tuple(map(_mark, self.fingerprint().values())), torch.get_num_threads(), len(ids),
            self.length, calls,
        )  # fmt: skip
        content = head.content() + _shortest(encoder)
        return Packed(content + struct.pack("<I", zlib.crc32(content)), bits)

    def decompress(self, content: bytes) -> str:
        """The text of a file that `compress` made.

        Raises:
            InputError: if the file is damaged, or was made with another model, version, processor,
                number of threads or length of windows; says which.
        """
        import constriction

        head, code = header(content)
        differs = "the probabilities would differ, so that nothing can be decoded"
        for mark, (name, here) in zip(head.marks, self.fingerprint().items(), strict=True):
            if mark != _mark(here):
                raise InputError(
                    f"the file was compressed with another {name} than here ({here}): {differs}"
                )
        if head.threads != torch.get_num_threads():
            raise InputError(
                f"the file was compressed with {head.threads} thread(s), and here there are "
                f"{torch.get_num_threads()}: {differs}"
            )
        if head.length != self.length:
            raise InputError(
                f"the file was compressed in windows of {head.length} tokens, and here they have "
                f"{self.length}: {differs}"
            )
        words = np.frombuffer(code + bytes(8 + -len(code) % 4), ">u4").astype(np.uint32)
        decoder, law = constriction.stream.queue.RangeDecoder(words), _law()
        found = list[Tensor]()
        for _, rows in _batches(head.tokens, self.length):
            x = torch.full(rows.shape, self.tokenizer.mask)
            for group in _groups(rows, head.calls):
                p = self._probabilities(x, rows, group)
                symbols = torch.from_numpy(decoder.decode(law, p).astype(np.int64))
                x = x.masked_scatter(group, symbols)
            found.append(x[rows])
        ids = torch.cat(found).numpy() if found else np.zeros(0, np.int64)
        return self.tokenizer.decode(ids)

    @torch.no_grad()
    def _probabilities(self, x: Tensor, rows: Tensor, group: Tensor) -> NDArray[np.float32]:
        """(N, K) of the tokens of a group, in order; rounded so that small differences vanish."""
        denoiser, home = masked(self.model), device_of(self.model)
        level = (((x == self.tokenizer.mask) & rows).sum(1) / rows.sum(1)).double()
        state = Padded(x.to(home), rows.to(home))
        logits = denoiser.given(at=group.to(home)).output(state, level.to(home))
        rounded = (logits[:, : self.tokenizer.eos].double().cpu() * _GRID).round() / _GRID
        p: NDArray[np.float32] = rounded.softmax(-1).float().numpy()
        return p


class Header(NamedTuple):
    """What stands before the code.

    Attributes:
        marks: of the model, the versions and the processor.
        threads: of torch.
        tokens: of the text.
        length: places of a window.
        calls: of the network for each batch of windows.
    """

    marks: tuple[bytes, ...]
    threads: int
    tokens: int
    length: int
    calls: int

    def content(self) -> bytes:
        """As it stands in a file."""
        out = bytearray(_MAGIC + b"".join(self.marks))
        for number in self[1:]:
            while number > 127:
                out.append(number & 127 | 128)
                number >>= 7
            out.append(number)
        return bytes(out)


def header(content: bytes) -> tuple[Header, bytes]:
    """The header and the code of a file.

    Raises:
        InputError: if it is no such file, of another format, or damaged or cut off.
    """
    if content[:3] != _MAGIC[:3]:
        raise InputError("this is no .sfz file of sfumato")
    if content[3:4] not in (b"", _MAGIC[3:]):
        raise InputError(
            f"this .sfz file is of format {content[3:4].decode('latin-1')!r}, and only format "
            f"{_MAGIC[3:].decode()!r} can be read; decompress it by the version that wrote it"
        )
    if len(content) < 8 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise InputError("the file is damaged or cut off: its checksum is another")
    at, end, numbers = len(_MAGIC) + 3 * _MARK, len(content) - 4, list[int]()
    marks = tuple(content[i : i + _MARK] for i in range(len(_MAGIC), at, _MARK))
    while len(numbers) < 4:
        number = shift = 0
        while at < end and shift < 35 and content[at] > 127:
            number |= (content[at] & 127) << shift
            at, shift = at + 1, shift + 7
        if at >= end:
            break
        numbers.append(number | content[at] << shift)
        at += 1
    whole = len(numbers) == 4 and max(numbers) <= _LARGEST
    if not whole or not 1 <= numbers[3] <= numbers[2]:
        raise InputError("the file is damaged: its header holds impossible numbers")
    return Header(marks, *numbers), content[at:end]


def _mark(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()[:_MARK]


def _shortest(encoder: Any) -> bytes:
    """The fewest bytes that, with zeros behind them, lie in the interval of a range encoder.

    Its own words are the first of 4 bytes that do, however wide the interval is.
    """
    words = encoder.get_compressed()
    place, (low, width) = encoder.pos()  # the interval, of 64 bits, begins at this word
    if len(words) == 0:
        return b""
    point = int.from_bytes(words.astype(">u4").tobytes(), "big") << 32 * (place + 2 - len(words))
    start = point - (-low & 0xFFFFFFFF)  # the words round it up to 32 bits
    for spare in range(8, -1, -1):
        least = -(-start >> 8 * spare)
        if least << 8 * spare < start + width:
            break
    code: bytes = least.to_bytes(4 * (place + 2) - spare, "big")
    return code.rstrip(b"\0")


def _law() -> Any:
    import constriction

    return constriction.stream.model.Categorical(perfect=False)


def _batches(tokens: int, length: int) -> Iterator[tuple[int, Tensor]]:
    """Where each batch of windows begins, and (B, length) which of its places hold a token.

    All of a text have 8 windows, which is fastest, but the last, which has no row without a token.
    """
    for start in range(0, tokens, _BATCH * length):
        windows = min(_BATCH, -(-(tokens - start) // length))
        place = torch.arange(windows * length).view(windows, length)
        yield start, place < tokens - start


def _groups(rows: Tensor, calls: int) -> Iterator[Tensor]:
    """The places that each call is about; always the same. One without a token is left out."""
    place = torch.arange(rows.shape[1]) % calls
    for k in range(calls):
        group = rows & (place == k)
        if bool(group.any()):
            yield group
