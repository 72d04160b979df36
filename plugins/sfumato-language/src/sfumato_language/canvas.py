"""Canvases: windows of token ids in which prompts, suffixes and texts with gaps are filled in."""

from __future__ import annotations

__all__ = [
    "CANVAS",
    "INSIDE",
    "REGEX",
    "Blank",
    "Clamped",
    "conditions",
    "ids_of",
    "lines_of",
    "pattern_of",
]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from sfumato import InputError, Known, Padded, random
from sfumato_methods.discrete import Prompt

from .patterns import automaton, told
from .tokens import Tokenizer, rebuilt

CANVAS = "canvas"
"""Condition that sizes a sample and fills a part of it: `Padded` ids, the mask where unknown."""
INSIDE = "inside"
"""Condition (B, L) bool: where a document may not end, since something known comes behind."""

REGEX = "pattern"
TEMPERATURE, NUCLEUS = "temperature", "nucleus"
"""Conditions (B,): how the posterior is sharpened, see `sfumato_methods.discrete`."""
GUIDANCE, SHOWN = "guidance", "shown"
"""Conditions (B,) and (B, L) bool: how much a prompt weighs, and what it is, see `guided`."""

_DIGITS = 7
"""Of the number of tokens in a gap, at most."""
_GAP = re.compile(r"\[MASK(?:\*(\d+))?\]")
_NAMES = ("prompt", "suffix", "text", "length", REGEX, TEMPERATURE, NUCLEUS, GUIDANCE)


@dataclass(frozen=True)
class Blank:
    """The `Model.blank` of texts (`sfumato_train.clamps.Canvas`).

    Attributes:
        length: tokens of a window.
        mask: id of what is to be drawn.
        sizes: (tokens, windows) of each size that the training had; empty: all have `length`.
        begin: id that every text begins with; None: any.
    """

    length: int
    mask: int
    sizes: tuple[tuple[int, int], ...] = ()
    begin: int | None = None

    def __call__(self, n: int, generator: Generator, canvas: Padded | None = None) -> Padded:
        """N windows to be filled: the canvas, or all mask, as long as training windows are."""
        if canvas is not None:
            return canvas
        counts = torch.full((n,), self.length)
        if self.sizes:
            size, weight = torch.tensor(self.sizes).unbind(1)
            ends = weight.cumsum(0)
            drawn = random.integers(0, int(ends[-1]), (n,), generator)
            counts = size[torch.searchsorted(ends, drawn, right=True)]
        mask = torch.arange(int(counts.max()) if n else 0) < counts[:, None]
        ids = torch.full(mask.shape, self.mask)
        if self.begin is not None:
            ids[:, 0] = self.begin
        return Padded(ids, mask)

    def known(self, x: Padded) -> Prompt | Known | None:
        """What of a canvas is no mask."""
        known = (x.data != self.mask) & x.mask
        return Prompt(x, known) if bool(known.any()) else None


@dataclass(frozen=True)
class Clamped(Blank):
    """The same for chains without a mask, whose `mask` is an id that no state has.

    What is known is noised like the rest, and nearly clean towards the end (`sfumato.Known`).

    Attributes:
        axes: of a state, behind those of ids: 1 for points of a simplex.
    """

    axes: int = 0

    def known(self, x: Padded) -> Known | None:
        known = (x.data != self.mask) & x.mask
        if not bool(known.any()):
            return None
        values = Padded(x.data.masked_fill(~known, 0), x.mask)
        return Known(values, known[(..., *[None] * self.axes)])


def ids_of(text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a text in which `[MASK]` is one token to be drawn, and `[MASK*12]` are twelve.

    Raises:
        InputError: for a character that has none, or half of one, as a command line that is not
            UTF-8 gives.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the text {_short(text)} is not UTF-8 at {error.start}") from None
    found: list[int] = []
    at = 0
    for gap in _GAP.finditer(text):
        found += tokenizer.encode(text[at : gap.start()]).tolist()
        count = gap[1] or "1"
        if len(count) > _DIGITS:
            raise InputError(f"the gap {_short(gap[0])} has more tokens than any model takes")
        found += [tokenizer.mask] * int(count)
        at = gap.end()
    return [*found, *tokenizer.encode(text[at:]).tolist()]


def pattern_of(text: str, allowed: Sequence[str]) -> str:
    """A regular expression of a text with gaps (see `ids_of`), each filled by one of some texts."""
    choice = f"({'|'.join(map(_literal, allowed))})"
    return choice.join(_literal(part) for part in _GAP.split(text)[::2])


def _literal(text: str) -> str:
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)


def conditions(
    values: Mapping[str, str], n: int, about: Mapping[str, Any]
) -> dict[str, Padded | Tensor]:
    """`prompt=`, `suffix=`, `text=`, `length=`, `temperature=` and the like for n samples.

    Args:
        values: the words. `prompt` stands at the beginning, `suffix` at the end, and between them
            is drawn; `text` is a whole with gaps, see `ids_of`. `@file` is one a line, gone
            through in turn. Of a model of pairs the separator is put behind the prompt, and
            without a prompt the first ones of its data are asked. `length` is of the sample in
            tokens: `64`, or `20..60`, gone through in turn; else that of the model.
            `temperature=0.8` sharpens what the model says of each
            token, `nucleus=0.9` keeps its likeliest tokens only, and `guidance=1.5` lets what is
            given weigh more; all change the law of the model.
            `pattern` is a regular expression that a text matches from its beginning, prompt
            included, to its end; of a model of pairs, the response.
        n: number of samples.
        about: facts of the data.

    Raises:
        InputError: for another name, what does not fit into the length of the model, or leaves
            nothing to draw, and guidance where nothing is given.
    """
    for name in values:
        if name not in _NAMES:
            raise InputError(
                f"there is no condition {name!r}; a model of text takes {', '.join(_NAMES)}"
            )
    sharp = _sharpened(values, n)
    values = {name: value for name, value in values.items() if name not in sharp}
    regex, scale = values.pop(REGEX, None), sharp.pop(GUIDANCE, None)
    answers = "separator" in about and "text" not in values
    if not values and not answers and regex is None and scale is None:
        return sharp
    if "text" in values and set(values) != {"text"}:
        raise InputError("text=... is the whole sample; it goes without prompt, suffix and length")
    tokenizer, most = rebuilt(about["tokenizer"]), int(about["length"])
    several = {name: lines_of(name, value) for name, value in values.items() if name != "length"}
    if answers:
        prompts = several.get("prompt", about["examples"])
        several["prompt"] = [about["opening"] + one + about["separator"] for one in prompts]
    lengths = _lengths(values["length"], most) if "length" in values else None
    begin = [about["begin"]] if about.get("begin") is not None else []
    rows = []
    for i in range(n):
        one = {name: texts[i % len(texts)] for name, texts in several.items()}
        size = most if lengths is None else lengths[i % len(lengths)]
        rows.append(_row(one, size, most, tokenizer, begin))
    found = {**sharp, **_canvas(rows, tokenizer)}
    if scale is not None:
        found |= _guided(scale, found[CANVAS], tokenizer, len(begin))
    if regex is not None:
        first = [row.index(tokenizer.mask) if answers else len(begin) for row in rows]
        found |= told(automaton(regex, about), torch.tensor(first))
    return found


def _sharpened(values: Mapping[str, str], n: int) -> dict[str, Padded | Tensor]:
    found: dict[str, Padded | Tensor] = {}
    for name in (TEMPERATURE, NUCLEUS, GUIDANCE):
        if name not in values:
            continue
        try:
            number = float(values[name])
        except ValueError:
            number = -1.0
        if not (0 < number <= 1 if name == NUCLEUS else 0 < number < float("inf")):
            fits = "a probability in (0, 1]" if name == NUCLEUS else "a positive number"
            raise InputError(f"{name}={values[name]}: accepted is {fits}")
        found[name] = torch.full((n,), number, dtype=torch.float64)
    return found


def _guided(
    scale: Padded | Tensor, canvas: Padded | Tensor, tokenizer: Tokenizer, begin: int
) -> dict[str, Padded | Tensor]:
    assert isinstance(canvas, Padded)
    shown = canvas.mask & (canvas.data != tokenizer.mask)
    shown[:, :begin] = False
    if not bool(shown.any(1).all()):
        raise InputError("guidance=... lets a prompt weigh more, and for some text none is given")
    return {GUIDANCE: scale, SHOWN: shown}


def _row(
    one: Mapping[str, str], size: int, most: int, tokenizer: Tokenizer, begin: list[int]
) -> list[int]:
    if "text" in one:
        row = begin + ids_of(one["text"], tokenizer)
        if len(row) > most:
            raise InputError(
                f"the text {_short(one['text'])} has {len(row)} tokens, gaps included, and this "
                f"model takes {most}"
            )
        if tokenizer.mask not in row:
            raise InputError(
                f"the text {_short(one['text'])} has no gap; write [MASK] or [MASK*12] where "
                "something is to be drawn"
            )
        return row
    prompt, suffix = (ids_of(one.get(name, ""), tokenizer) for name in ("prompt", "suffix"))
    prompt = begin + prompt
    room = size - len(prompt) - len(suffix)
    if room < 1:
        raise InputError(
            f"prompt and suffix have {len(prompt)} + {len(suffix)} tokens and leave no room in the "
            f"{size} of the sample"
        )
    return [*prompt, *[tokenizer.mask] * room, *suffix]


def _canvas(rows: Sequence[Sequence[int]], tokenizer: Tokenizer) -> dict[str, Padded | Tensor]:
    width = max(map(len, rows), default=0)
    ids = torch.full((len(rows), width), tokenizer.eos)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    inside = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        real[i, : len(row)] = True
        given = [place for place, token in enumerate(row) if token != tokenizer.mask]
        inside[i, : given[-1] if given else 0] = True
    found: dict[str, Padded | Tensor] = {CANVAS: Padded(ids, real)}
    return found | ({INSIDE: inside} if bool(inside.any()) else {})


def lines_of(name: str, value: str) -> list[str]:
    """The lines of `@file`, else the one value of a word.

    Raises:
        InputError: if the file cannot be read or holds no line.
    """
    if not value.startswith("@"):
        return [value]
    path = Path(value[1:])
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}={value}: {path} cannot be read: {error}") from None
    if not lines:
        raise InputError(f"{name}={value}: {path} holds no line")
    return lines


def _lengths(value: str, most: int) -> list[int]:
    first, dots, last = value.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()):
        raise InputError(f"length={value}: accepted are 64 and 20..60, in tokens")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= most:
        raise InputError(f"length={value}: this model takes 1 to {most} tokens, in ascending order")
    return list(range(low, high + 1))


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
