"""Lossless compression of text by a masked model and a range coder.

A model of any order takes any order of coding (Hoogeboom et al. 2021, arXiv:2110.02037, section
4.2). Here a window is coded in strides: with C calls of the network, the k-th is about the places
k, k + C, k + 2C, ... at once. What one call codes lies far apart, so that its tokens have little to
tell each other, and what stands before a place is known to the beginning of its stride: a token is
cheaper when its neighbours are known than when as many others are. The decoder makes the same
calls on the same states.

That is exact only if both compute the same numbers, bit for bit. Logits are rounded to 1/1024
before they become probabilities, batches of a text have one shape, and a file says which model,
torch, processor and number of threads it was written with; another one refuses it.

A file is "SFZ2", the length of a header (4 bytes), the header (JSON), the code (words of 4 bytes),
and the CRC-32 of all of it.
"""

from __future__ import annotations

__all__ = ["CALLS", "Coder", "Packed", "header"]

import json
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

_MAGIC, _BATCH, _GRID, _LARGEST = b"SFZ2", 8, 1024.0, 1 << 30


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

    def fingerprint(self) -> dict[str, Any]:
        """What the numbers depend on: the weights, torch, the processor, the threads."""
        return {
            "model": self._weights,
            "sfumato": sfumato.__version__,
            "torch": torch.__version__,
            "device": device_of(self.model).type,
            "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
            "threads": torch.get_num_threads(),
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
        facts = {"tokens": len(ids), "length": self.length, "calls": calls, **self.fingerprint()}
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
        head = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        code = encoder.get_compressed().astype("<u4").tobytes()
        content = _MAGIC + struct.pack("<I", len(head)) + head + code
        return Packed(content + struct.pack("<I", zlib.crc32(content)), bits)

    def decompress(self, content: bytes) -> str:
        """The text of a file that `compress` made.

        Raises:
            InputError: if the file is damaged, or was made with another model, torch, processor or
                number of threads; says which.
        """
        import constriction

        facts, code = header(content)
        for name, here in self.fingerprint().items():
            if facts.get(name) != here:
                raise InputError(
                    f"the file was compressed with {name} {_short(facts.get(name))}, and here it "
                    f"is {_short(here)}: the probabilities would differ, so that nothing can be "
                    "decoded"
                )
        words = np.frombuffer(code, "<u4").astype(np.uint32)
        decoder, law = constriction.stream.queue.RangeDecoder(words), _law()
        found = list[Tensor]()
        for _, rows in _batches(facts["tokens"], facts["length"]):
            x = torch.full(rows.shape, self.tokenizer.mask)
            for group in _groups(rows, facts["calls"]):
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


def header(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The facts and the code of a file.

    Raises:
        InputError: if it is no such file, or is damaged or cut off.
    """
    if content[:4] != _MAGIC:
        raise InputError("this is no .sfz file of sfumato")
    whole = len(content) >= 12 and zlib.crc32(content[:-4]) == struct.unpack("<I", content[-4:])[0]
    if not whole:
        raise InputError("the file is damaged or cut off: its checksum is another")
    (size,) = struct.unpack("<I", content[4:8])
    try:
        facts = json.loads(content[8 : 8 + size])
        counts = [facts[name] for name in ("tokens", "length", "calls")]
    except (ValueError, KeyError, TypeError):
        raise InputError("the file is damaged: its header cannot be read") from None
    whole = all(isinstance(n, int) and 0 <= n <= _LARGEST for n in counts)
    if not whole or not 1 <= counts[2] <= counts[1]:
        raise InputError("the file is damaged: its header holds impossible numbers")
    return facts, content[8 + size : -4]


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


def _short(value: Any) -> str:
    return str(value)[:16]
