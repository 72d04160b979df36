"""The formats of molecules that are text: cut into records, then each record read by itself."""

from __future__ import annotations

__all__ = ["FORMATS", "Format", "Record"]

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from sfumato import InputError

from .chem import Hydrogens, from_rdkit, quiet, rdkit, selfies, sentence
from .molecule import LARGEST, NUMBERS, Molecule, checked
from .points import parse_xyz


class Record(NamedTuple):
    """The text of one molecule.

    Attributes:
        line: where it starts, from 1.
        text: what it is.
        beside: what stands beside it, by name, as text.
        kind: of the text where the format has several: smiles, selfies, inchi.
        wrong: why it cannot be read, where that is seen at once.
    """

    line: int
    text: str
    beside: Iterable[tuple[str, str]] = ()
    kind: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Format:
    """How a format is read.

    Attributes:
        records: cuts text into records; takes the column of the molecules, where there are some.
        parse: makes a molecule of a record; raises `InputError` with the reason alone.
        what: the format in a few words.
        sound: whether what is parsed has possible valences.
    """

    records: Callable[[str, str | None], Iterator[Record]]
    parse: Callable[[Record, str, Hydrogens], Molecule]
    what: str
    sound: bool = False


COLUMNS = {
    "smiles": "smiles", "smile": "smiles", "canonical_smiles": "smiles", "mol": "smiles",
    "selfies": "selfies", "inchi": "inchi",
}  # fmt: skip
"""Names of columns that hold molecules, and the kind of text in them."""


def _lines(kind: str) -> Callable[[str, str | None], Iterator[Record]]:
    """A molecule in each line, and after a space its name."""

    def records(text: str, column: str | None) -> Iterator[Record]:
        for number, line in enumerate(text.splitlines(), start=1):
            word, _, name = line.strip().partition("\t" if "\t" in line.strip() else " ")
            if not word or word.startswith("#") or (number == 1 and word.lower() in COLUMNS):
                continue
            yield Record(number, word, [("name", name.strip())] if name.strip() else (), kind)

    return records


def _table(delimiter: str) -> Callable[[str, str | None], Iterator[Record]]:
    """A molecule in a column of each row; the other columns are properties."""

    def records(text: str, column: str | None) -> Iterator[Record]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            head = [name.strip().lstrip("\ufeff") for name in next(rows, [])]
            place, kind = _column(head, column)
            others = head[:place] + head[place + 1 :]
            for row in rows:
                if len(row) == len(head):
                    word = row.pop(place).strip()
                    yield Record(rows.line_num, word, zip(others, row, strict=True), kind)
                elif row:
                    wrong = f"{len(row)} columns in place of {len(head)}"
                    yield Record(rows.line_num, "", wrong=wrong)
        except csv.Error as error:
            raise InputError(f"line {rows.line_num}: {error}") from None

    return records


def _column(head: list[str], column: str | None) -> tuple[int, str]:
    if column is not None:
        if column not in head:
            raise InputError(f"there is no column {column!r}; there are {_listed(head)}")
        return head.index(column), COLUMNS.get(column.lower(), "smiles")
    for i, name in enumerate(head):
        if name.lower() in COLUMNS:
            return i, COLUMNS[name.lower()]
    raise InputError(
        f"no column is called SMILES, SELFIES or InChI; there are {_listed(head)}: name one with "
        "column="
    )


def _listed(names: list[str]) -> str:
    """Some names of a file, which may be anything, in one line."""
    some = ", ".join(_short(name) if not name.isprintable() else name[:40] for name in names[:12])
    return f"{some}, ..." if len(names) > 12 else some or "none"


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _word(record: Record, source: str, hydrogens: Hydrogens) -> Molecule:
    """A molecule of a SMILES, SELFIES or InChI."""
    chem, text = rdkit(), record.text
    if not text:
        raise InputError("there is no molecule")
    if len(text) > 20 * LARGEST:
        raise InputError(f"{len(text):,} characters; accepted are at most {20 * LARGEST:,}")
    with quiet():
        mol = _READERS[record.kind](chem, text)
    properties = {name: _value(cell) for name, cell in record.beside if cell.strip()}
    return from_rdkit(mol, properties=properties, source=source, hydrogens=hydrogens)


def _of_smiles(chem: Any, text: str) -> Any:
    parameters = chem.SmilesParserParams()
    parameters.removeHs = False
    mol = chem.MolFromSmiles(text, parameters)
    if mol is None:
        parameters.sanitize = False
        rough = chem.MolFromSmiles(text, parameters)
        raise InputError(f"{_short(text)} is no SMILES" if rough is None else _problem(chem, rough))
    return mol


def _of_selfies(chem: Any, text: str) -> Any:
    reader = selfies()
    try:
        found = reader.decoder(text)
    except (reader.DecoderError, ValueError) as error:
        raise InputError(f"{_short(text)} is no SELFIES: {sentence(error)[:80]}") from None
    return _of_smiles(chem, found)


def _of_inchi(chem: Any, text: str) -> Any:
    mol = chem.MolFromInchi(text)
    if mol is None:
        raise InputError(f"{_short(text)} is no InChI")
    return mol


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "smiles": _of_smiles,
    "selfies": _of_selfies,
    "inchi": _of_inchi,
}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _problem(chem: Any, mol: Any) -> str:
    """Why RDKit takes a molecule for impossible."""
    with quiet():
        found = chem.DetectChemistryProblems(mol)
    return " ".join(found[0].Message().split()) if found else "its valences are impossible"


def _sd_records(text: str, column: str | None) -> Iterator[Record]:
    """Parts that `$$$$` ends."""
    yield from _parts(text, lambda line: line.startswith("$$$$"), ends=True)


def _mol2_records(text: str, column: str | None) -> Iterator[Record]:
    """Parts that `@<TRIPOS>MOLECULE` begins."""
    yield from _parts(text, lambda line: line.startswith("@<TRIPOS>MOLECULE"), ends=False)


def _parts(text: str, mark: Callable[[str], bool], *, ends: bool) -> Iterator[Record]:
    held: list[str] = []
    start = 1
    for number, line in enumerate(chain(text.splitlines(), [None]), start=1):
        if line is None or mark(line):
            if any(part.strip() for part in held):
                yield Record(start, "\n".join(held) + "\n")
            held, start = ([], number + 1) if ends else ([line or ""], number)
        else:
            held.append(line)


def _sd(record: Record, source: str, hydrogens: Hydrogens) -> Molecule:
    """A molecule of a part of an SD file, V2000 or V3000, with its data."""
    block, end, data = record.text.partition("M  END")
    if not end:
        raise InputError("it ends before M  END")
    chem = rdkit()
    with quiet():
        mol = chem.MolFromMolBlock(block + end + "\n", sanitize=False, removeHs=False)
    if mol is None:
        raise InputError(_diagnosed(block.splitlines()))
    title = block.split("\n", 1)[0].strip()
    beside = {"name": title} if title else {}
    return _of_block(mol, source, hydrogens, {**beside, **_data(data)})


def _data(text: str) -> dict[str, float | str]:
    """The data of a record: `> <name>`, and below it the value up to an empty line."""
    found: dict[str, float | str] = {}
    for match in re.finditer(r"^> .*?<([^>\n]+)>.*\n((?:.+\n?)*)", text, re.MULTILINE):
        found[match[1].strip()] = _value(match[2].strip())
    return found


def _diagnosed(lines: list[str]) -> str:
    """What is wrong with a mol block that RDKit does not read."""
    if len(lines) < 4:
        return f"the mol block has {len(lines)} lines"
    if "V3000" in lines[3]:
        return "the V3000 block cannot be read"
    counts = re.match(r"\s*(\d{1,3})\s*(\d{1,3})", lines[3][:6])
    if counts is None:
        return f"the counts line {_short(lines[3])} does not start with two numbers"
    atoms = int(lines[3][:3])
    if len(lines) < 4 + atoms:
        return f"there are {len(lines) - 4} lines in place of {atoms} atoms"
    for i, line in enumerate(lines[4 : 4 + atoms], start=1):
        words = line.split()
        if len(words) < 4 or words[3].capitalize() not in NUMBERS:
            return f"atom {i} is of the unknown element {_short(words[3] if words[3:] else line)}"
        try:
            finite = all(math.isfinite(float(word)) for word in words[:3])
        except ValueError:
            finite = False
        if not finite:
            return f"atom {i} has no coordinates: {_short(line)}"
    return _misbonded(lines[4 + atoms : 4 + atoms + int(counts[2])], atoms)


def _misbonded(lines: list[str], atoms: int) -> str:
    """What is wrong with the bonds of a mol block that RDKit does not read."""
    seen = set()
    for line in lines:
        try:
            ends = frozenset((int(line[:3]), int(line[3:6])))
        except ValueError:
            return f"{_short(line)} is no bond"
        if not 1 <= min(ends) <= max(ends) <= atoms:
            return f"{_short(line)} is a bond with an atom that is not there"
        if len(ends) == 1:
            return f"atom {min(ends)} has a bond with itself"
        if ends in seen:
            return f"atoms {min(ends)} and {max(ends)} have two bonds"
        seen.add(ends)
    return "the mol block cannot be read"


def _mol2(record: Record, source: str, hydrogens: Hydrogens) -> Molecule:
    chem = rdkit()
    with quiet():  # aromatic rings are cleaned up in sanitising
        mol = chem.MolFromMol2Block(record.text, removeHs=False)
        if mol is None:
            mol = chem.MolFromMol2Block(record.text, sanitize=False, removeHs=False)
    if mol is None:
        raise InputError("RDKit cannot read the mol2 block")
    title = [*record.text.splitlines(), "", ""][1].strip()
    return _of_block(mol, source, hydrogens, {"name": title} if title else {}, flat=True)


def _of_block(
    mol: Any,
    source: str,
    hydrogens: Hydrogens,
    properties: Mapping[str, float | str],
    *,
    flat: bool = False,
) -> Molecule:
    """Of a molecule as a file has it; the hydrogens that it lacks are told by the valences."""
    with quiet():
        mol.UpdatePropertyCache(strict=False)
    return from_rdkit(mol, properties=properties, source=source, hydrogens=hydrogens, flat=flat)


def _pdb_records(text: str, column: str | None) -> Iterator[Record]:
    """The models of a PDB file, each with the bonds that stand at the end."""
    lines = text.splitlines()
    bonds = [line for line in lines if line.startswith("CONECT")]
    held: list[str] = []
    start = 1
    for number, line in enumerate([*lines, "END"], start=1):
        if line.startswith(("ENDMDL", "END")):
            if held:
                yield Record(start, "\n".join([*held, *bonds, "END", ""]))
            held = []
        elif line.startswith(("ATOM", "HETATM")):
            start = start if held else number
            held.append(line)


def _pdb(record: Record, source: str, hydrogens: Hydrogens) -> Molecule:
    chem = rdkit()
    count = sum(line.startswith(("ATOM", "HETATM")) for line in record.text.splitlines())
    if count > LARGEST:
        raise InputError(f"{count} atoms; accepted are 1 to {LARGEST:,}")
    with quiet():
        mol = chem.MolFromPDBBlock(
            record.text, sanitize=False, removeHs=False, proximityBonding=False
        )
    if mol is None:
        raise InputError("RDKit cannot read the atoms")
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    if hydrogens != "add" and (1 in numbers or not mol.GetNumBonds()):  # orders are seldom told
        kept = [i for i, e in enumerate(numbers) if e != 1 or hydrogens == "as-is"]
        charges = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
        places = mol.GetConformer().GetPositions()
        return checked(
            [numbers[i] for i in kept], places[kept], [charges[i] for i in kept], source=source
        )
    return _of_block(mol, source, hydrogens, {}, flat=True)


def _frames(text: str, column: str | None) -> Iterator[Record]:
    """The frames of an XYZ file: a number of atoms, a comment, a line for each atom."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        word = lines[at].strip()
        if not word.isdecimal() or len(word) > 9:
            wrong = f"{_short(word)} is no number of atoms; from here on nothing is read"
            yield Record(at + 1, "", wrong=wrong)
            return
        end = at + 2 + int(word)
        yield Record(at + 1, "\n".join(lines[at:end]))
        at = end


def _xyz(record: Record, source: str, hydrogens: Hydrogens) -> Molecule:
    if hydrogens == "add":
        raise InputError("hydrogens cannot be added to atoms without bonds")
    return parse_xyz(record.text, source, drop_hydrogens=hydrogens == "drop")


_SMILES = Format(_lines("smiles"), _word, "a SMILES in each line, then its name", sound=True)
_SD = Format(_sd_records, _sd, "SD files, V2000 and V3000")
_XYZ = Format(_frames, _xyz, "XYZ and extended XYZ, any number of frames")

FORMATS: Mapping[str, Format] = {
    ".smi": _SMILES,
    ".smiles": _SMILES,
    ".txt": _SMILES,
    ".csv": Format(
        _table(","), _word, "a table with a column SMILES, SELFIES or InChI", sound=True
    ),
    ".tsv": Format(_table("\t"), _word, "the same, with tabs", sound=True),
    ".selfies": Format(_lines("selfies"), _word, "a SELFIES in each line", sound=True),
    ".inchi": Format(_lines("inchi"), _word, "an InChI in each line", sound=True),
    ".sdf": _SD,
    ".sd": _SD,
    ".mol": _SD,
    ".mol2": Format(_mol2_records, _mol2, "Tripos mol2"),
    ".xyz": _XYZ,
    ".extxyz": _XYZ,
    ".pdb": Format(_pdb_records, _pdb, "PDB, each model a molecule"),
}
"""What is read as text, by suffix."""
