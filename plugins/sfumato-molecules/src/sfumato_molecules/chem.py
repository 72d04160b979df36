"""Between our molecules and those of RDKit and ASE; what RDKit tells of one."""

from __future__ import annotations

__all__ = [
    "bare_smiles", "from_ase", "from_rdkit", "has_hydrogens", "is_possible", "key", "quiet",
    "rdkit", "sanitised", "selfies", "sentence", "smiles", "to_ase", "to_rdkit", "valid",
]  # fmt: skip

import hashlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np

from sfumato import InputError

from .molecule import Molecule, checked

Hydrogens: TypeAlias = Literal["as-is", "add", "drop"]
"""What a reader does with hydrogens: leaves those of the record, adds all, takes all away."""


@cache
def rdkit() -> Any:
    """RDKit's chemistry, loaded on first use."""
    from rdkit import Chem

    return Chem


def selfies() -> Any:
    """The package of that name.

    Raises:
        InputError: if it is missing.
    """
    try:
        return importlib.import_module("selfies")
    except ImportError:
        raise InputError(
            "the package selfies is missing; install it with pip install "
            "'sfumato-molecules[selfies]'"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """No messages of RDKit on the terminal: what matters is raised as an error."""
    from rdkit import rdBase

    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block


def has_hydrogens(molecule: Molecule) -> bool:
    """Whether hydrogens are atoms of the molecule, rather than left to the valences."""
    return bool((molecule.elements == 1).any())


def to_rdkit(molecule: Molecule, *, explicit: bool | None = None) -> Any:
    """The molecule as an RDKit molecule, not sanitised, with its places as a conformer.

    Args:
        molecule: what to convert; without bonds it is atoms only.
        explicit: whether all hydrogens there are are atoms, so that none fill up a valence; None:
            it is so where there is at least one.
    """
    chem = rdkit()
    explicit = has_hydrogens(molecule) if explicit is None else explicit
    made = chem.RWMol()
    for number, charge in zip(molecule.elements.tolist(), molecule.charges.tolist(), strict=True):
        atom = chem.Atom(number)
        if charge:
            atom.SetFormalCharge(charge)
        if explicit:
            atom.SetNoImplicit(True)
        made.AddAtom(atom)
    kinds = (None, chem.BondType.SINGLE, chem.BondType.DOUBLE, chem.BondType.TRIPLE)
    for i, j, order in molecule.bonds.tolist():
        made.AddBond(i, j, kinds[order])
    if molecule.positions is not None:
        conformer = chem.Conformer(len(molecule))
        conformer.SetPositions(molecule.positions.astype(np.float64))
        made.AddConformer(conformer)
    return made.GetMol()


def sanitised(molecule: Molecule, *, explicit: bool | None = None) -> Any | None:
    """The RDKit molecule with its valences, rings and aromaticity checked; None if they fail.

    Stereo centres and double bonds get their sides from the places, where there are any.
    """
    chem = rdkit()
    made = to_rdkit(molecule, explicit=explicit)
    with quiet():
        try:
            chem.SanitizeMol(made)
        except (ValueError, RuntimeError):  # whatever of its exceptions: no such molecule
            return None
        if molecule.positions is not None:
            chem.AssignStereochemistryFrom3D(made)
    return made


def valid(molecule: Molecule, *, explicit: bool | None = None) -> Any | None:
    """The sanitised RDKit molecule where it has atoms, and no radicals; else None."""
    made = sanitised(molecule, explicit=explicit) if len(molecule) else None
    if made is None or any(atom.GetNumRadicalElectrons() for atom in made.GetAtoms()):
        return None
    return made


def is_possible(molecule: Molecule, *, explicit: bool | None = None) -> bool:
    """Whether RDKit takes the valences for possible; faster than `sanitised`."""
    made = to_rdkit(replace(molecule, positions=None), explicit=explicit)
    with quiet():
        return bool(rdkit().SanitizeMol(made, catchErrors=True) == 0)


def from_rdkit(
    mol: Any,
    *,
    properties: Mapping[str, float | str] | None = None,
    source: str = "",
    bonds_from: str = "file",
    hydrogens: Hydrogens = "as-is",
    flat: bool = False,
) -> Molecule:
    """An RDKit molecule as ours, with the places of its first conformer that is in space.

    Args:
        mol: what to convert; it is not changed.
        properties: see `Molecule`.
        source: see `Molecule`.
        bonds_from: see `Molecule`.
        hydrogens: see `Hydrogens`; added ones are placed where the others have places. Without
            places, `as-is` drops those that are atoms while others are not.
        flat: a conformer is in space even if RDKit takes it for a drawing, all z being 0.

    Raises:
        InputError: for atoms that are no element, bonds of another order, radicals without places,
            aromatic rings without Kekule structure, places of some hydrogens only, and what
            `checked` raises.
    """
    chem = rdkit()
    if mol.GetNumAtoms() == 0:
        raise InputError("0 atoms; a molecule has at least one")
    placed = any(flat or c.Is3D() for c in mol.GetConformers())
    with quiet():
        try:
            mol = chem.Mol(mol)
            if hydrogens == "as-is" and _partly(list(mol.GetAtoms())):
                if placed:
                    raise InputError(
                        "some hydrogens have no places; take hydrogens=add or hydrogens=drop"
                    )
                hydrogens = "drop"
            if hydrogens == "add":
                chem.SanitizeMol(mol)
                mol = chem.AddHs(mol, addCoords=placed)
            elif hydrogens == "drop":
                chem.SanitizeMol(mol)
                mol = chem.RemoveAllHs(mol)
            chem.Kekulize(mol, clearAromaticFlags=True)
        except (ValueError, RuntimeError) as error:
            raise InputError(sentence(error)) from None
    atoms = list(mol.GetAtoms())
    numbers = [atom.GetAtomicNum() for atom in atoms]
    if 0 in numbers:
        odd = atoms[numbers.index(0)]
        raise InputError(f"atom {odd.GetIdx() + 1} ({odd.GetSymbol()}) is no element")
    if 1 not in numbers and mol.GetNumConformers() == 0:
        for atom in atoms:
            if atom.GetNumRadicalElectrons():
                raise InputError(
                    f"atom {atom.GetIdx() + 1} ({atom.GetSymbol()}) is a radical, which is not "
                    "kept where hydrogens are left to the valences"
                )
    orders = {chem.BondType.SINGLE: 1, chem.BondType.DOUBLE: 2, chem.BondType.TRIPLE: 3}
    bonds = []
    for bond in list(mol.GetBonds()):
        kind = bond.GetBondType()
        if kind not in orders:
            raise InputError(f"a bond of type {kind}; accepted are 1, 2, 3, aromatic")
        bonds.append((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), orders[kind]))
    conformer = next((c for c in mol.GetConformers() if flat or c.Is3D()), None)
    return checked(
        numbers,
        None if conformer is None else conformer.GetPositions(),
        [atom.GetFormalCharge() for atom in atoms],
        bonds,
        properties,
        source,
        bonds_from if bonds else "",
    )


def _partly(atoms: Sequence[Any]) -> bool:
    """Whether some hydrogens are atoms and others are left to the valences."""
    return any(atom.GetAtomicNum() == 1 for atom in atoms) and any(
        atom.GetTotalNumHs() for atom in atoms
    )


def sentence(error: Exception) -> str:
    """What a library says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def from_ase(atoms: Any, source: str = "") -> Molecule:
    """An ASE `Atoms` as a molecule without bonds; numbers and text of its `info` are kept.

    Raises:
        InputError: as `checked` does.
    """
    kept = {
        str(name): float(value) if isinstance(value, int | float | np.number) else str(value)
        for name, value in atoms.info.items()
        if isinstance(value, int | float | str | np.number)
    }
    return checked(atoms.numbers, atoms.positions, properties=kept, source=source)


def to_ase(molecule: Molecule) -> Any:
    """The molecule as an ASE `Atoms`, which holds no bonds; its properties are in `info`.

    Raises:
        InputError: if ASE is missing, or the molecule has no places.
    """
    try:
        from ase import Atoms
    except ImportError:
        raise InputError(
            "ASE is missing; install it with pip install 'sfumato-molecules[ase]'"
        ) from None
    if molecule.positions is None:
        raise InputError("a molecule without coordinates cannot be an ASE Atoms")
    return Atoms(
        numbers=molecule.elements.astype(int),
        positions=molecule.positions.astype(float),
        info=dict(molecule.properties),
    )


def smiles(molecule: Molecule, *, explicit: bool | None = None) -> str | None:
    """Canonical SMILES of the RDKit that is installed, without hydrogens; None: not valid."""
    made = sanitised(molecule, explicit=explicit)
    return None if made is None else str(bare_smiles(made))


def bare_smiles(made: Any) -> str:
    """Canonical SMILES of a sanitised RDKit molecule, its hydrogens left to the valences."""
    chem = rdkit()
    with quiet():
        try:
            return str(chem.MolToSmiles(chem.RemoveAllHs(made)))
        except (ValueError, RuntimeError):
            return str(chem.MolToSmiles(made))


def key(molecule: Molecule) -> str:
    """A name that molecules of the same bonds share, whatever their places and stereo centres.

    It is the first block of the InChIKey; of a molecule that InChI does not take, a hash of its
    elements, charges and bonds.
    """
    made = sanitised(replace(molecule, positions=None), explicit=has_hydrogens(molecule))
    if made is not None and len(molecule.bonds):
        with quiet():
            found = rdkit().MolToInchiKey(made)
        if found:
            return str(found).partition("-")[0]
    parts = (np.sort(molecule.elements), np.sort(molecule.charges), molecule.bonds)
    return hashlib.blake2b(b"".join(p.tobytes() for p in parts), digest_size=14).hexdigest()
