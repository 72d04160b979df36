"""The letters by which byte-level tokenizers write bytes (Radford et al. 2019, GPT-2)."""

from __future__ import annotations

__all__ = ["BYTE_OF"]


def _letters() -> dict[str, int]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): b for i, b in enumerate(other)}


BYTE_OF = _letters()
"""The byte of each letter: printable ones of Latin-1 stand for themselves, the others are numbered
from U+0100 on."""
