"""What a molecule is here: elements, places, charges and bonds, in numpy arrays."""

from __future__ import annotations

__all__ = ["LARGEST", "SYMBOLS", "Molecule", "checked", "symbols"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato import InputError

LARGEST = 1000
"""Atoms of the largest molecule that is read: a network looks at all pairs."""

SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy "
    "Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf "
    "Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()
"""Symbols of the elements by atomic number; 0 is no element."""

NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Molecule:
    """One molecule.

    Isotopes and radicals are not told apart. Without places stereo centres have no side, and
    hydrogens may be left to the valences: see `chem.to_rdkit`.

    Attributes:
        elements: (n,) uint8, atomic numbers.
        positions: (n, 3) float32, angstrom; None for records without places.
        charges: (n,) int8, formal charges.
        bonds: (m, 3) int16, rows (i, j, order) with i < j and order 1, 2 or 3, aromatic ones
            kekulised; (0, 3) where they are unknown.
        properties: further values by name.
        source: where it is from: a file with the line, or an id.
        bonds_from: what told the bonds: "file", "distances", "rdkit", "model", or "" where there
            are none.
    """

    elements: Array
    positions: Array | None
    charges: Array
    bonds: Array
    properties: Mapping[str, float | str] = field(default_factory=dict)
    source: str = ""
    bonds_from: str = ""

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.elements)


def symbols(molecule: Molecule) -> list[str]:
    """The symbol of each atom."""
    return [SYMBOLS[number] for number in molecule.elements.tolist()]


def checked(
    elements: Any,
    positions: Any = None,
    charges: Any = None,
    bonds: Any = None,
    properties: Mapping[str, float | str] | None = None,
    source: str = "",
    bonds_from: str = "",
) -> Molecule:
    """A molecule of values that come from outside.

    Args:
        elements: (n,) atomic numbers.
        positions: (n, 3) angstrom, or None.
        charges: (n,) formal charges, or None: 0.
        bonds: rows (i, j, order), or None: unknown.
        properties: see `Molecule`.
        source: see `Molecule`.
        bonds_from: see `Molecule`.

    Raises:
        InputError: for no atoms or more than 1,000, numbers that are no element, positions that are
            missing or not finite, charges beyond +-9, bonds of an atom with itself, twice between
            two, to an atom that is not there, or of another order than 1, 2 or 3.
    """
    numbers = np.asarray(elements, dtype=np.int64).reshape(-1)
    count = len(numbers)
    if not 1 <= count <= LARGEST:
        raise InputError(f"{count} atoms; accepted are 1 to {LARGEST:,}")
    if len(odd := numbers[(numbers < 1) | (numbers >= len(SYMBOLS))]):
        raise InputError(f"there is no element of number {odd[0]}")
    charged = np.zeros(count, np.int64) if charges is None else np.asarray(charges, dtype=np.int64)
    if charged.shape != (count,) or (np.abs(charged) > 9).any():
        raise InputError(f"charges have to be one for each of {count} atoms, from -9 to 9")
    return Molecule(
        numbers.astype(np.uint8),
        None if positions is None else _placed(positions, count),
        charged.astype(np.int8),
        _bonded(bonds, count),
        dict(properties or {}),
        source,
        bonds_from,
    )


def _placed(positions: Any, count: int) -> Array:
    placed = np.asarray(positions, dtype=np.float64)
    if placed.shape != (count, 3):
        raise InputError(f"coordinates have shape {placed.shape} in place of ({count}, 3)")
    wrong = ~np.isfinite(placed).all(1) | (np.abs(placed) > 1e5).any(1)
    if wrong.any():
        raise InputError(f"the coordinates of atom {int(wrong.argmax()) + 1} are missing or huge")
    return placed.astype(np.float32)


def _bonded(bonds: Any, count: int) -> Array:
    if bonds is None or not len(bonds):
        return np.zeros((0, 3), np.int16)
    rows = np.array(bonds, dtype=np.int64).reshape(-1, 3)
    rows[:, :2].sort(axis=1)
    first, second, order = rows.T
    if (first < 0).any() or (second >= count).any():
        raise InputError(f"a bond names an atom that is not one of {count}")
    if (first == second).any():
        raise InputError(f"atom {int(first[first == second][0]) + 1} has a bond with itself")
    if ((order < 1) | (order > 3)).any():
        raise InputError("a bond has another order than 1, 2 or 3")
    rows = rows[np.lexsort((second, first))]
    if (rows[1:, :2] == rows[:-1, :2]).all(1).any():
        raise InputError("there are two bonds between the same atoms")
    return rows.astype(np.int16)
