"""Reading molecules from files: what cannot be read is listed, by line and reason."""

from __future__ import annotations

__all__ = ["ORGANIC", "SUFFIXES", "Found", "Reading", "Rejected", "read", "told"]

import gzip
import io
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sfumato import InputError

from . import bonds, components
from .chem import Hydrogens, is_possible, sentence
from .formats import FORMATS
from .molecule import NUMBERS, SYMBOLS, Molecule

BIGGEST = 2**30
"""Bytes of the largest file that is read, unpacked."""

ORGANIC = ("C", "H", "N", "O", "F", "S", "P", "Cl")
"""The elements of most organic molecules."""

CIF = (".bcif", ".cif", ".mmcif")

SUFFIXES = (*FORMATS, *CIF)
"""What is read; those that are text also with `.gz` appended."""

Infer = Literal["distances", "rdkit", "none"]
Fragments = Literal["reject", "largest", "keep"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no molecule, or none of those accepted: where it stands, and why."""

    where: str
    reason: str


@dataclass(frozen=True, eq=False)
class Found:
    """What was read.

    Attributes:
        molecules: in the order of the files.
        rejected: records that were left out.
        passed: records left out because other elements or smaller molecules were asked for.
        ends: how many molecules there were after each file, with its name.
    """

    molecules: list[Molecule] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    passed: int = 0
    ends: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """How molecules are read.

    Attributes:
        strict: a record that cannot be read is an error, not left out.
        most: records taken of a file, spread evenly over it; None: all.
        column: of a table, what holds the molecules; None: found by its name.
        hydrogens: leave those of the records, add all, or drop all.
        infer: how bonds are told where a file has places only: see `bonds`.
        fragments: what becomes of molecules that are several: rejected, the largest taken, kept.
        valences: reject what has impossible valences.
        elements: symbols of the elements taken; None: all.
        heavy: atoms besides hydrogen of the largest molecule taken; None: any.
        fewest: atoms of the smallest molecule taken.
    """

    strict: bool = False
    most: int | None = None
    column: str | None = None
    hydrogens: Hydrogens = "as-is"
    infer: Infer = "distances"
    fragments: Fragments = "reject"
    valences: bool = True
    elements: Sequence[str] | None = None
    heavy: int | None = None
    fewest: int = 1

    def __post_init__(self) -> None:
        for symbol in self.elements or ():
            if symbol not in NUMBERS:
                raise InputError(f"{symbol!r} is no element")
        for name, value in (("most", self.most), ("heavy", self.heavy), ("fewest", self.fewest)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, but is {value}")


def read(path: Path, how: Reading | None = None) -> Found:
    """The molecules in a file, or in all files of a folder that are of a known kind.

    A folder is taken in the order of its paths, at any depth; hidden files and other kinds are
    passed over, and so is `.txt`, which may hold anything. `.gz` may be appended to the suffix of a
    text file.

    Args:
        path: a file or a folder.
        how: see `Reading`.

    Raises:
        InputError: for a path that is not there or of no known kind, a file that is larger than 1
            GiB or damaged; if there are no molecules; with `strict` for the first record that
            cannot be read.
    """
    how = how or Reading()
    files = [path]
    if path.is_dir():
        files = [
            f
            for f in sorted(path.rglob("*"))
            if kind(f) not in (None, ".txt")
            and not any(part.startswith(".") for part in f.relative_to(path).parts)
        ]
    if not files:
        raise InputError(f"{path} holds no molecules; accepted are {', '.join(SUFFIXES)}")
    found, passed = Found(), 0
    for file in files:
        for got in _file(file, how):
            if isinstance(got, Molecule):
                if _wanted(got, how):
                    found.molecules.append(got)
                else:
                    passed += 1
            elif how.strict:
                raise InputError(f"{got.where}: {got.reason}")
            else:
                found.rejected.append(got)
        found.ends.append((file.name, len(found.molecules)))
    if not found.molecules:
        why = f"; {passed:,} have other sizes or elements than are asked for" if passed else ""
        why += f"; {told(found.rejected)}" if found.rejected else ""
        raise InputError(f"{path} holds no molecules that are taken{why}")
    return replace(found, passed=passed)


def kind(path: Path) -> str | None:
    """The suffix that says how a file is read, without `.gz`; None if it is of no known kind."""
    suffixes = [s.lower() for s in path.suffixes[-2:]]
    if suffixes[-1:] == [".gz"]:
        suffixes = suffixes[:-1]
        return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else None


def told(rejected: Collection[Rejected], first: int = 3) -> str:
    """How many records were left out, and of the first ones where and why, in one sentence."""
    some = "; ".join(f"{r.where}: {r.reason}" for r in list(rejected)[:first])
    more = ", such as " if len(rejected) > first else ": "
    records = "record was" if len(rejected) == 1 else "records were"
    return f"{len(rejected):,} {records} left out{more}{some}"


def _file(path: Path, how: Reading) -> Iterator[Molecule | Rejected]:
    suffix = kind(path)
    if suffix is None:
        raise InputError(
            f"{path} is of no kind that holds molecules; accepted are {', '.join(SUFFIXES)}"
        )
    try:
        yield from _cif(path, how) if suffix in CIF else _text(path, suffix, how)
    except InputError as error:
        place = str(error) if str(path) in str(error) else f"{path}, {error}"
        raise InputError(place) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a parser raises on a damaged file
        raise InputError(f"{path} cannot be read: {sentence(error)}") from None


def _text(path: Path, suffix: str, how: Reading) -> Iterator[Molecule | Rejected]:
    form = FORMATS[suffix]
    records = list(form.records(content(path), how.column))
    if how.most is not None and len(records) > how.most:
        records = [records[i * len(records) // how.most] for i in range(how.most)]
    for number, record in enumerate(records, start=1):
        where = f"{path.name}, line {record.line}"
        if len(records) > 1 and suffix not in (".smi", ".csv"):
            where = f"{where} (molecule {number})"
        try:
            if record.wrong:
                raise InputError(record.wrong)
            yield _finished(form.parse(record, where, how.hydrogens), how, sound=form.sound)
        except InputError as error:
            yield Rejected(where, str(error))


def _cif(path: Path, how: Reading) -> Iterator[Molecule | Rejected]:
    if path.stat().st_size > BIGGEST:
        raise InputError(f"{path} has more than 1 GiB, which is not read")
    found = list(components.read_cif(path, elements=how.elements, heavy=how.heavy))
    if how.most is not None and len(found) > how.most:
        found = [found[i * len(found) // how.most] for i in range(how.most)]
    for got in found:
        if not isinstance(got, Molecule):
            yield Rejected(f"{path.name}, {got[0]}", got[1])
            continue
        try:
            yield _finished(replace(got, source=f"{path.name}, {got.source}"), how)
        except InputError as error:
            yield Rejected(f"{path.name}, {got.source}", str(error))


def content(path: Path) -> str:
    """The text of a file, unpacked where its name ends in `.gz`; at most 1 GiB.

    Raises:
        InputError: if it is larger, or the packing is damaged.
    """
    with path.open("rb") as file:
        packed = path.suffix.lower() == ".gz"
        source = gzip.GzipFile(fileobj=file) if packed else file
        held = io.BytesIO()
        try:
            while part := source.read(2**20):
                held.write(part)
                if held.tell() > BIGGEST:
                    raise InputError(f"{path} has more than 1 GiB, which is not read")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is damaged: {error}") from None
    return held.getvalue().decode("utf-8", errors="replace")


def _finished(molecule: Molecule, how: Reading, *, sound: bool = False) -> Molecule:
    """The molecule with its bonds told, as one piece, and checked where it is not sound anyway."""
    told = len(molecule.bonds) > 0
    if not told and molecule.positions is not None and how.infer != "none":
        molecule = bonds.inferred(molecule, how.infer, charged=bool(molecule.charges.any()))
        told = True
    parts = bonds.fragments(molecule)
    if how.fragments != "keep" and told and parts.max() > 0:
        if how.fragments == "reject":
            raise InputError(
                f"it is {int(parts.max()) + 1} molecules; fragments=largest takes the largest, "
                "fragments=keep all"
            )
        molecule = bonds.part(molecule, int(np.bincount(parts).argmax()))
    if how.valences and not sound and len(molecule.bonds) and not is_possible(molecule):
        raise InputError("its valences are impossible; valences=false takes it all the same")
    return molecule


def _wanted(molecule: Molecule, how: Reading) -> bool:
    if len(molecule) < how.fewest:
        return False
    if how.heavy is not None and int((molecule.elements != 1).sum()) > how.heavy:
        return False
    if how.elements is None:
        return True
    return {SYMBOLS[e] for e in np.unique(molecule.elements).tolist()} <= set(how.elements)
