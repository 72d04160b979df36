"""Lossless compression of text by a masked model and a range coder.

Tokens of a window are coded in a random order, several in one call of the network (Hoogeboom et
al. 2021, arXiv:2110.02037, section 4.2): each group is coded by the probabilities that the model
gives it when it sees the groups before. How large the groups are is chosen for the text, by what a
token costs when so many others are known. The decoder makes the same calls on the same states.

That is exact only if both compute the same numbers, bit for bit. Logits are rounded to 1/1024
before they become probabilities, batches have one shape, and a file says which model, torch,
processor and number of threads it was written with; another one refuses it.

A file is "SFZ1", the length of a header (4 bytes), the header (JSON), the code (words of 4 bytes),
and the CRC-32 of all of it.
"""

from __future__ import annotations

__all__ = ["CALLS", "Packed", "compress", "decompress", "fingerprint", "header"]

import json
import platform
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import sfumato
from sfumato import Batch, InputError, Model, Padded, random
from sfumato_methods.discrete.anyorder import budget
from sfumato_train.drawing import device_of
from sfumato_train.linked import digest

from .denoiser import masked
from .objective import cross_entropy
from .tokens import Tokenizer

CALLS = 32
"""Calls of the network for each batch of windows, at most."""

_MAGIC, _BATCH, _GRID, _LARGEST = b"SFZ1", 16, 1024.0, 1 << 30
_KNOTS = 12  # numbers of known tokens at which costs are measured


class Packed(NamedTuple):
    """A compressed text.

    Attributes:
        content: the file.
        bits: what the model gives the tokens, in bits; the code is a little longer.
    """

    content: bytes
    bits: float


def fingerprint(model: Model) -> dict[str, Any]:
    """What the numbers of a model depend on: its weights, torch, the processor, the threads."""
    return {
        "model": digest(model.denoiser),
        "sfumato": sfumato.__version__,
        "torch": torch.__version__,
        "device": device_of(model).type,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
    }


def compress(
    model: Model, tokenizer: Tokenizer, length: int, text: str, *, calls: int = CALLS
) -> Packed:
    """A text as a file that `decompress` turns back into it.

    Args:
        model: of text.
        tokenizer: its tokenizer.
        length: tokens of its windows.
        text: any text that the tokenizer gives back as it was.
        calls: of the network for each batch of 16 windows; more calls, fewer bits.

    Raises:
        InputError: for a text that the tokenizer changes (text8 drops capitals), or has no tokens
            for.
    """
    import constriction

    ids = tokenizer.encode(text)
    if tokenizer.decode(ids) != text:
        raise InputError(
            f"the tokenizer of this model ({tokenizer.kind}) does not give this text back as it "
            "was, so that nothing it compresses would be lossless; train one by bytes, characters "
            "or bpe"
        )
    if calls < 1:
        raise InputError(f"at least one call is needed, not calls={calls}")
    sizes = _sizes(model, tokenizer, ids, length, calls)
    facts = {"tokens": len(ids), "length": length, "groups": sizes, **fingerprint(model)}
    encoder, bits = constriction.stream.queue.RangeEncoder(), 0.0
    law = _law()
    for start, rows in _batches(len(ids), length):
        x = torch.full((_BATCH, length), tokenizer.mask)
        known = torch.from_numpy(ids[start : start + int(rows.sum())])
        clean = x.masked_scatter(rows, known)
        for group in _groups(rows, sizes, start):
            p = _probabilities(model, tokenizer, x, rows, group)
            symbols = clean[group]
            if len(symbols):
                encoder.encode(symbols.numpy().astype(np.int32), law, p)
                picked = np.take_along_axis(p, symbols.numpy()[:, None], 1).astype(float)
                bits -= float(np.log2(np.maximum(picked, 2.0**-24)).sum())
            x = torch.where(group, clean, x)
    head = json.dumps(facts, sort_keys=True).encode()
    code = encoder.get_compressed().astype("<u4").tobytes()
    content = _MAGIC + struct.pack("<I", len(head)) + head + code
    return Packed(content + struct.pack("<I", zlib.crc32(content)), bits)


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
        sizes = list(facts["groups"])
        counts = [facts["tokens"], facts["length"], *sizes]
    except (ValueError, KeyError, TypeError):
        raise InputError("the file is damaged: its header cannot be read") from None
    whole = all(isinstance(n, int) and 0 <= n <= _LARGEST for n in counts)
    if not whole or min(counts[1:]) < 1 or sum(sizes) != counts[1]:
        raise InputError("the file is damaged: its header holds impossible numbers")
    return facts, content[8 + size : -4]


def decompress(model: Model, tokenizer: Tokenizer, content: bytes) -> str:
    """The text of a file that `compress` made.

    Raises:
        InputError: if the file is damaged, or was made with another model, torch, processor or
            number of threads; says which.
    """
    import constriction

    facts, code = header(content)
    for name, here in fingerprint(model).items():
        if facts.get(name) != here:
            raise InputError(
                f"the file was compressed with {name} {_short(facts.get(name))}, and here it is "
                f"{_short(here)}: the probabilities would differ, so that nothing can be decoded"
            )
    words = np.frombuffer(code, "<u4").astype(np.uint32)
    decoder, law = constriction.stream.queue.RangeDecoder(words), _law()
    length, found = facts["length"], list[Tensor]()
    for start, rows in _batches(facts["tokens"], length):
        x = torch.full((_BATCH, length), tokenizer.mask)
        for group in _groups(rows, facts["groups"], start):
            p = _probabilities(model, tokenizer, x, rows, group)
            if len(p):
                symbols = torch.from_numpy(decoder.decode(law, p).astype(np.int64))
                x = x.masked_scatter(group, symbols)
        found.append(x[rows])
    ids = torch.cat(found).numpy() if found else np.zeros(0, np.int64)
    return tokenizer.decode(ids)


def _law() -> Any:
    import constriction

    return constriction.stream.model.Categorical(perfect=False)


def _batches(tokens: int, length: int) -> Iterator[tuple[int, Tensor]]:
    """Where each batch of windows begins, and (16, length) which of its places hold a token."""
    place = torch.arange(_BATCH * length).view(_BATCH, length)
    for start in range(0, tokens, _BATCH * length):
        yield start, place < tokens - start


def _groups(rows: Tensor, sizes: Sequence[int], start: int) -> Iterator[Tensor]:
    """The places that each call is about, parts of these sizes of a random order; always the same.

    A part without a token is left out.
    """
    noise = random.uniform(rows.shape, random.derive(0, "compression", start))
    rank = noise.argsort(1).argsort(1)
    first = 0
    for size in sizes:
        group = rows & (rank >= first) & (rank < first + size)
        first += size
        if bool(group.any()):
            yield group


@torch.no_grad()
def _sizes(
    model: Model, tokenizer: Tokenizer, ids: NDArray[np.int64], length: int, calls: int
) -> list[int]:
    """The sizes of the groups, for which the first windows of a text take the fewest bits."""
    if calls >= length:
        return [1] * length
    denoiser, home = masked(model), device_of(model)
    count = min(len(ids) // length, _BATCH)
    if not count:  # no whole window to measure in
        return [(k + 1) * length // calls - k * length // calls for k in range(calls)]
    x = torch.from_numpy(ids[: count * length]).view(count, length).to(home)
    rank = random.uniform(x.shape, random.derive(0, "costs")).argsort(1).argsort(1).to(home)
    knots = sorted({k * (length - 1) // (_KNOTS - 1) for k in range(_KNOTS)})
    whole = Batch(Padded(x, torch.ones_like(x, dtype=torch.bool)))
    cost = [
        float(cross_entropy(denoiser, whole, rank >= known).sum()) / (count * (length - known))
        for known in knots
    ]
    return budget(np.interp(range(length), knots, cost).tolist(), calls)


@torch.no_grad()
def _probabilities(
    model: Model, tokenizer: Tokenizer, x: Tensor, rows: Tensor, group: Tensor
) -> NDArray[np.float32]:
    """(N, K) of the tokens of a group, in order; rounded so that small differences vanish."""
    denoiser, home = masked(model), device_of(model)
    level = (((x == tokenizer.mask) & rows).sum(1) / rows.sum(1).clamp_min(1)).double()
    state = Padded(x.to(home), rows.to(home))
    logits = denoiser.given(at=group.to(home)).output(state, level.to(home))
    rounded = (logits[:, : tokenizer.eos].double().cpu() * _GRID).round() / _GRID
    p: NDArray[np.float32] = rounded.softmax(-1).float().numpy()
    return p


def _short(value: Any) -> str:
    return str(value)[:16]
