"""Tripos mol2, written."""

from __future__ import annotations

__all__ = ["dump_mol2"]

from typing import Any

from . import chem
from .molecule import Molecule, symbols


def dump_mol2(molecule: Molecule) -> str:
    """The record of a molecule: atoms with their SYBYL types, bonds, formal charges.

    Orders are those of the bonds, rings kekulised; a molecule that RDKit does not accept has the
    symbols of its elements for types.
    """
    made = chem.sanitised(molecule)
    assert molecule.positions is not None
    places = molecule.positions.tolist()
    name = " ".join(str(molecule.properties.get("name", molecule.source)).split()) or "molecule"
    lines = ["@<TRIPOS>MOLECULE", name, f"{len(molecule)} {len(molecule.bonds)} 1", "SMALL",
             "USER_CHARGES", "", "@<TRIPOS>ATOM"]  # fmt: skip
    for i, symbol in enumerate(symbols(molecule)):
        x, y, z = places[i]
        kind = symbol if made is None else _type(made.GetAtomWithIdx(i))
        charge = float(molecule.charges[i])
        lines.append(f"{i + 1:6d} {symbol + str(i + 1):6s} {x:10.4f} {y:10.4f} {z:10.4f} {kind:6s} "
                     f"1 MOL {charge:7.4f}")  # fmt: skip
    lines.append("@<TRIPOS>BOND")
    for number, (i, j, order) in enumerate(molecule.bonds.tolist(), start=1):
        lines.append(f"{number:6d} {i + 1:5d} {j + 1:5d} {order}")
    return "\n".join(lines) + "\n"


def _type(atom: Any) -> str:
    """The SYBYL type of an atom."""
    symbol = str(atom.GetSymbol())
    bonds = str(atom.GetHybridization())
    if symbol == "N" and atom.GetFormalCharge() == 1 and bonds == "SP3":
        return "N.4"
    if symbol == "N" and _amide(atom):
        return "N.am"
    if symbol == "S" and (oxygens := _double_oxygens(atom)):
        return "S.o2" if oxygens > 1 else "S.o"
    if symbol in ("C", "N", "O", "S", "P"):
        return f"{symbol}.{ {'SP': 1, 'SP2': 2}.get(bonds, 3) if symbol != 'P' else 3 }"
    return symbol


def _double_oxygens(atom: Any) -> int:
    return sum(
        bond.GetBondTypeAsDouble() == 2 and bond.GetOtherAtom(atom).GetSymbol() == "O"
        for bond in atom.GetBonds()
    )


def _amide(atom: Any) -> bool:
    """Whether a nitrogen stands at a carbon with a double bond to oxygen."""
    return any(
        near.GetSymbol() == "C" and not near.GetIsAromatic() and _double_oxygens(near)
        for near in atom.GetNeighbors()
    )
