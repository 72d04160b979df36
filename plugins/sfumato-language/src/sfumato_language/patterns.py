"""Regular expressions that texts have to match, as automata over the tokens of a tokenizer.

The library interegular turns an expression into an automaton over characters. That is brought to
the bytes of UTF-8, so that a token may be a part of a character or several, and then to tokens
(Willard & Louf 2023, arXiv:2307.09702). Behind the end of a text anything may stand.
"""

from __future__ import annotations

__all__ = ["BEGIN", "KIND", "PATTERN", "automaton", "automaton_of", "told"]

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import InputError
from sfumato_methods.discrete import Automaton

from .tokens import Tokenizer, rebuilt

PATTERN, KIND, BEGIN = "pattern", "pattern_kind", "pattern_begin"
"""Conditions that hold an automaton: (n, S, C + 1) the states after each class of tokens and, last,
whether a text may end; (n, K) the class of each token; (n,) the place that it begins at. Items have
one and the same."""

_LARGEST = 1 << 27  # entries of a table, 1 GiB
_STATES = 10_000


def told(automaton: Automaton, begin: Tensor) -> dict[str, Any]:
    """An automaton as conditions of n items; `begin` (n,)."""
    table = torch.cat((automaton.next, automaton.accepts[:, None].long()), 1)
    count = len(begin)
    return {
        PATTERN: table.expand(count, -1, -1),
        KIND: automaton.kind.expand(count, -1),
        BEGIN: begin,
    }


def automaton_of(pattern: Tensor, kind: Tensor) -> Automaton:
    """The automaton of the conditions `PATTERN` and `KIND`."""
    return Automaton(pattern[0, :, :-1], kind[0], pattern[0, :, -1] > 0)


def automaton(pattern: str, about: Mapping[str, Any]) -> Automaton:
    """An automaton of a regular expression that the whole of a text matches.

    Args:
        pattern: in the dialect of Python's `re`, without look-around and back references.
        about: facts of the data, for tokenizer and vocabulary.

    Raises:
        InputError: if interegular is missing, the tokenizer's tokens have no bytes of their own, or
            the pattern is none or too large.
    """
    tokenizer = rebuilt(about["tokenizer"])
    classes = max(int(about["vocabulary"]), tokenizer.mask + 1, tokenizer.size)
    return _made(pattern, tokenizer, classes)


@lru_cache(4)
def _made(pattern: str, tokenizer: Tokenizer, classes: int) -> Automaton:
    table, final = _by_byte(pattern)
    over, none = len(table), len(table) + 1  # the state behind the end of the text, and no state
    if none * classes > _LARGEST:
        raise InputError(f"pattern={pattern} has {over} states, too many for {classes} tokens")
    pieces = {i: p for i, p in tokenizer.pieces().items() if p and i != tokenizer.eos}
    width = max(map(len, pieces.values()))
    letters = np.full((len(pieces), width), 256)
    for row, piece in zip(letters, pieces.values(), strict=True):
        row[: len(piece)] = list(piece)
    # a column for "no more bytes", rows for the state behind the end and for none
    step = np.full((none + 1, 257), none)
    step[:over, :256] = np.where(table < 0, none, table)
    step[:, 256] = np.arange(none + 1)
    reached = np.repeat(np.arange(over)[:, None], len(pieces), 1)
    for letter in letters.T:
        reached = step[reached, letter]
    moves = np.full((none, classes), none)
    moves[:over, list(pieces)] = reached
    accepts = np.append(final, True)
    moves[accepts, tokenizer.eos] = over
    moves[over] = over
    columns, kind = np.unique(moves, axis=1, return_inverse=True)
    found = Automaton.of(*_trimmed(columns, accepts))
    return Automaton(found.next, found.kind[torch.from_numpy(kind.reshape(-1))], found.accepts)


def _trimmed(moves: NDArray[np.int64], accepts: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """The same without states that are not come to, or from which no text can end."""
    none = len(moves)
    live, seen = np.append(accepts, False), np.zeros(none + 1, dtype=bool)
    seen[0] = True
    for _ in range(none):
        before = live.sum() + seen.sum()
        live[:none] |= live[moves].any(1)
        seen[moves[seen[:none]]] = True
        if live.sum() + seen.sum() == before:
            break
    keep = (live & seen)[:none]
    keep[0] = True
    number = np.full(none + 1, keep.sum())
    number[:none][keep] = np.arange(keep.sum())
    return torch.from_numpy(number[moves[keep]]), torch.from_numpy(accepts[keep])


_Pending = bytes | tuple[int, int, int]
"""The first bytes of a character that the pattern names; of another one, how many are to come, and
the range of the next."""


def _by_byte(pattern: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(S, 256) the state after each byte, -1 where there is none, and (S,) which are final."""
    characters = _by_character(pattern)
    known = [char for char in characters.alphabet if isinstance(char, str)]
    other = next(
        (characters.alphabet[char] for char in characters.alphabet if not isinstance(char, str)),
        None,
    )
    named = {char.encode()[:i] for char in known for i in range(1, len(char.encode()))}
    start: tuple[Any, _Pending] = (characters.initial, b"")
    numbers = {start: 0}
    rows: list[list[int]] = []
    queue = [start]
    for state in queue:  # which grows
        row = []
        for byte in range(256):
            after = _after(characters, named, other, *state, byte)
            if after is not None and after not in numbers:
                numbers[after] = len(queue)
                queue.append(after)
            row.append(-1 if after is None else numbers[after])
        rows.append(row)
        if len(queue) > _STATES:
            raise InputError(f"pattern={pattern} has more than {_STATES} states; make it simpler")
    final = [pending == b"" and state in characters.finals for state, pending in queue]
    return np.asarray(rows), np.asarray(final)


def _by_character(pattern: str) -> Any:
    """The automaton of interegular."""
    try:
        import interegular
    except ImportError:
        raise InputError(
            "a pattern needs interegular: pip install 'sfumato-language[patterns]'"
        ) from None
    try:
        parsed = interegular.parse_pattern(pattern)
        if _letters(parsed) > _STATES:
            raise InputError(f"pattern={pattern} repeats more than {_STATES} letters; make it less")
        found: Any = parsed.to_fsm()
    except (interegular.InvalidSyntax, interegular.Unsupported) as error:
        why = str(error) or "a bracket is left open, or a sign stands where none can"
        raise InputError(f"pattern={pattern} cannot be read: {why}") from None
    return found.reduce()


def _letters(part: Any) -> int:
    """How many letters a part of a pattern has, with what is repeated written out."""
    inside = [*getattr(part, "options", ()), *getattr(part, "parts", ())]
    inside += [getattr(part, name) for name in ("base", "inner") if hasattr(part, name)]
    most, least = getattr(part, "max", 1), getattr(part, "min", 1)
    return (least + 1 if most is None else most) * sum(map(_letters, inside)) if inside else 1


def _after(
    characters: Any, named: set[bytes], other: Any, state: Any, pending: _Pending, byte: int
) -> tuple[Any, _Pending] | None:
    """State and what is pending after one more byte; None if it is no UTF-8, or not accepted."""
    left, low, high = _rest(pending) if isinstance(pending, bytes) else pending
    if not low <= byte <= high:
        return None
    if isinstance(pending, bytes):
        seen = pending + bytes([byte])
        rest = _rest(seen)
        if rest[0]:
            return None if rest[1] > rest[2] else (state, seen if seen in named else rest)
        symbol: Any = characters.alphabet[seen.decode()]
    elif left > 1:
        return state, (left - 1, 0x80, 0xBF)
    else:
        symbol = other
    after = characters.map.get(state, {}).get(symbol)
    return None if after is None else (after, b"")


def _rest(seen: bytes) -> tuple[int, int, int]:
    """How many bytes a character in UTF-8 still has, and the range of the next (RFC 3629)."""
    if not seen:
        return 1, 0x00, 0xF4
    lead = seen[0]
    size = 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)
    if 0x80 <= lead < 0xC2:
        return 1, 1, 0  # no byte begins like this
    second = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
    low, high = second.get(lead, (0x80, 0xBF)) if len(seen) == 1 else (0x80, 0xBF)
    return size - len(seen), low, high
