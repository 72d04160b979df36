"""Writing molecules: SMILES, CSV, SELFIES, InChI, SDF, mol2, XYZ, extended XYZ, PDB, mmCIF."""

from __future__ import annotations

__all__ = ["WRITTEN", "check", "write"]

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfumato import InputError
from sfumato_train.files import write_text

from . import chem
from .molecule import Molecule
from .points import dump_xyz
from .tripos import dump_mol2


def write(molecules: Sequence[Molecule], path: Path, *, explicit: bool | None = None) -> list[Path]:
    """Write molecules to one file of the kind that its suffix says, or as SD file to a folder.

    Formats of lines (`.smi`, `.csv`, `.selfies`, `.inchi`) hold those that RDKit accepts; in a line
    without molecule the others are left out, in a table their cell is empty. What exists is
    replaced, whole.

    Args:
        molecules: what to write.
        path: a file, or a folder.
        explicit: see `chem.to_rdkit`.

    Raises:
        InputError: for another suffix, molecules without places in a format of places, or places
            that are not finite. Nothing is written then.
    """
    if path.is_dir() or not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        path = path / "samples.sdf"
    check(path)
    kind = path.suffix.lower()
    for i, molecule in enumerate(molecules):
        if molecule.positions is not None and not np.isfinite(molecule.positions).all():
            raise InputError(
                f"{molecule.source or f'molecule {i}'} has places that are not finite; "
                "the model has diverged"
            )
    text = _WRITERS[kind](molecules, explicit)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return [path]


def check(path: Path) -> None:
    """Raise an `InputError` unless molecules can be written to a path of this name."""
    kind = path.suffix.lower()
    if kind and kind not in _WRITERS and not path.is_dir():
        raise InputError(
            f"molecules cannot be written as {kind}; accepted are {', '.join(WRITTEN)}, or a folder"
        )


def _sdf(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    """V2000, as nearly everything reads it; V3000 where a molecule has more than 999 atoms."""
    from rdkit import Chem

    parts = []
    for molecule in molecules:
        made = chem.to_rdkit(molecule, explicit=explicit)
        made.UpdatePropertyCache(strict=False)
        made.SetProp("_Name", _line(molecule.properties.get("name", molecule.source)))
        parts.append(Chem.MolToMolBlock(made, kekulize=False, forceV3000=len(molecule) > 999))
        for name, value in _told(molecule).items():
            parts.append(f">  <{_line(name)}>\n{_line(value)}\n\n")
        parts.append("$$$$\n")
    return "".join(parts)


def _told(molecule: Molecule) -> dict[str, float | str]:
    """The properties, with where the bonds are from."""
    beside = {name: value for name, value in molecule.properties.items() if name != "name"}
    return {**beside, "bonds_from": molecule.bonds_from} if molecule.bonds_from else beside


def _line(value: float | str) -> str:
    return " ".join(str(value).split())


def _smi(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    lines = []
    for molecule in molecules:
        if found := chem.smiles(molecule, explicit=explicit):
            name = _line(molecule.properties.get("name", molecule.source))
            lines.append(f"{found} {name}".rstrip() + "\n")
    return "".join(lines)


def _csv(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    told = [_told(molecule) for molecule in molecules]
    names = sorted({name for properties in told for name in properties})
    out = io.StringIO(newline="")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["smiles", "name", *names])
    for molecule, properties in zip(molecules, told, strict=True):
        name = molecule.properties.get("name", molecule.source)
        cells = [properties.get(n, "") for n in names]
        rows.writerow([chem.smiles(molecule, explicit=explicit) or "", name, *cells])
    return out.getvalue()


def _selfies(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    writer = chem.selfies()
    found = [chem.smiles(molecule, explicit=explicit) for molecule in molecules]
    return "".join(f"{writer.encoder(text)}\n" for text in found if text)


def _inchi(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    from rdkit.Chem import MolToInchi

    inchi: Callable[[Any], str] = MolToInchi
    lines = []
    for molecule in molecules:
        made = chem.sanitised(molecule, explicit=explicit)
        with chem.quiet():
            lines.append("" if made is None else inchi(made))
    return "".join(f"{line}\n" for line in lines if line)


def _mol2(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    _need_places(molecules, "mol2")
    return "\n".join(dump_mol2(molecule) for molecule in molecules)


def _xyz(extended: bool) -> Callable[[Sequence[Molecule], bool | None], str]:
    def text(molecules: Sequence[Molecule], explicit: bool | None) -> str:
        lines = [line for m in molecules for line in dump_xyz(m, extended=extended)]
        return "".join(f"{line}\n" for line in lines)

    return text


def _pdb(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    from rdkit import Chem

    _need_places(molecules, "PDB")
    parts = []
    for number, molecule in enumerate(molecules, start=1):
        made = chem.to_rdkit(molecule, explicit=explicit)
        made.UpdatePropertyCache(strict=False)
        block = Chem.MolToPDBBlock(made, flavor=4).removesuffix("END\n")
        if len(molecules) == 1:
            parts.append(block)
            continue
        places = [line for line in block.splitlines() if not line.startswith("CONECT")]
        parts.append("\n".join([f"MODEL {number:8d}", *places, "ENDMDL", ""]))
    return "".join(parts) + "END\n"


def _cif(molecules: Sequence[Molecule], explicit: bool | None) -> str:
    from .components import dump_components

    _need_places(molecules, "mmCIF")
    return dump_components(molecules)


def _need_places(molecules: Sequence[Molecule], what: str) -> None:
    for molecule in molecules:
        if molecule.positions is None:
            raise InputError(f"{molecule.source} has no coordinates, which {what} needs")


_WRITERS: Mapping[str, Callable[[Sequence[Molecule], bool | None], str]] = {
    ".sdf": _sdf,
    ".smi": _smi,
    ".csv": _csv,
    ".selfies": _selfies,
    ".inchi": _inchi,
    ".mol2": _mol2,
    ".xyz": _xyz(extended=False),
    ".extxyz": _xyz(extended=True),
    ".pdb": _pdb,
    ".cif": _cif,
}

WRITTEN = tuple(_WRITERS)
"""What is written, by suffix."""
