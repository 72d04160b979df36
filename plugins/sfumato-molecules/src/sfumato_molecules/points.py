"""XYZ and extended XYZ: atoms and places."""

from __future__ import annotations

__all__ = ["dump_xyz", "parse_xyz"]

import re
from collections.abc import Iterator

import numpy as np

from sfumato import InputError

from .molecule import NUMBERS, SYMBOLS, Molecule, checked, symbols

_PAIR = re.compile(r"([^\s=\"]+)=(\"[^\"]*\"|'[^']*'|\S+)")


def parse_xyz(text: str, source: str, *, drop_hydrogens: bool = False) -> Molecule:
    """One frame; an extended one says by `Properties=` which columns are what.

    Further columns are passed over, `key=value` of the comment are properties, any other comment
    is the property `comment`. Numbers may be as QM9 writes them, `1.5*^-6`.

    Raises:
        InputError: for a frame that is cut short, an unknown element, a number that is none.
    """
    first, comment, *rows = [*text.splitlines(), ""]
    count = int(first)
    rows = rows[:count]
    if len(rows) < count or not all(row.strip() for row in rows):
        there = sum(bool(row.strip()) for row in rows)
        raise InputError(f"{count} atoms are announced, but {there} lines follow")
    beside = {key: value.strip("\"'") for key, value in _PAIR.findall(comment)}
    name, place, charge = _columns(beside.pop("Properties", "species:S:1:pos:R:3"))
    elements, positions, charges = [], [], []
    for number, row in enumerate(rows, start=1):
        words = row.split()
        if len(words) < max(name + 1, place + 3, (charge or 0) + 1):
            raise InputError(f"atom {number} has no coordinates: {row.strip()[:40]!r}")
        elements.append(_element(words[name], number))
        positions.append([_number(word, number) for word in words[place : place + 3]])
        charges.append(0 if charge is None else round(_number(words[charge], number)))
    kept = [i for i, e in enumerate(elements) if e != 1 or not drop_hydrogens]
    properties = {key: _guessed(value) for key, value in beside.items() if key != "Lattice"}
    if not beside and comment.strip():
        properties["comment"] = comment.strip()[:200]
    return checked(
        [elements[i] for i in kept],
        np.array(positions, dtype=np.float64).reshape(-1, 3)[kept],
        [charges[i] for i in kept],
        properties=properties,
        source=source,
    )


def _columns(layout: str) -> tuple[int, int, int | None]:
    """Places of the element, of x and of `formal_charge` among the columns of `Properties=`."""
    words = layout.split(":")
    found: dict[str, int] = {}
    at = 0
    for name, _, width in zip(*[iter(words)] * 3, strict=False):
        if not width.isdecimal():
            raise InputError(f"Properties={layout} is no list of name:type:columns")
        found[name], at = at, at + int(width)
    name = next((found[n] for n in ("species", "element", "Z") if n in found), None)
    if name is None or "pos" not in found:
        raise InputError(f"Properties={layout} names no species and pos")
    return name, found["pos"], found.get("formal_charge")


def _element(word: str, number: int) -> int:
    if word.isdecimal() and 1 <= int(word) < len(SYMBOLS):
        return int(word)
    if (symbol := word.capitalize()) in NUMBERS:
        return NUMBERS[symbol]
    raise InputError(f"atom {number} is of the unknown element {word[:20]!r}")


def _number(word: str, number: int) -> float:
    try:
        return float(word.replace("*^", "e"))
    except ValueError:
        raise InputError(f"atom {number} has {word[:20]!r} for a coordinate") from None


def _guessed(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text[:200]


def dump_xyz(molecule: Molecule, *, extended: bool) -> Iterator[str]:
    """The lines of one frame; an extended one keeps the properties and the charges of atoms.

    Raises:
        InputError: if the molecule has no places.
    """
    if molecule.positions is None:
        raise InputError("a molecule without coordinates cannot be written as XYZ")
    yield str(len(molecule))
    if extended:
        pairs = [f'{_key(k)}="{_plain(v)}"' for k, v in molecule.properties.items()]
        yield " ".join(["Properties=species:S:1:pos:R:3:formal_charge:I:1", *pairs])
    else:
        yield " ".join(str(molecule.properties.get("name", molecule.source)).split())
    rows = zip(
        symbols(molecule), molecule.positions.tolist(), molecule.charges.tolist(), strict=True
    )
    for symbol, (x, y, z), charge in rows:
        yield f"{symbol:2s} {x:14.6f} {y:14.6f} {z:14.6f}" + (f" {charge:3d}" if extended else "")


def _key(text: str) -> str:
    return re.sub(r"[\s=\"']+", "_", text)


def _plain(value: float | str) -> str:
    return " ".join(str(value).replace('"', "'").split())
