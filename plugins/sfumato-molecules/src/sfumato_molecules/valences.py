"""Which numbers of bonds an element takes."""

from __future__ import annotations

__all__ = ["NEUTRAL", "accepted", "stable", "summed", "used"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .molecule import NUMBERS, Molecule

NEUTRAL = {
    NUMBERS[symbol]: valences
    for symbol, valences in {
        "H": (1,), "B": (3,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "Al": (3,), "Si": (4,),
        "P": (3, 5), "S": (2, 4, 6), "Cl": (1,), "As": (3, 5), "Se": (2, 4, 6), "Br": (1,),
        "I": (1,),
    }.items()
}  # fmt: skip
"""Valences of neutral atoms by atomic number; of other elements none is known."""


def accepted(number: int, charge: int) -> tuple[int, ...]:
    """The valences of an element with a formal charge, smallest first; () where none is known.

    N+ takes four bonds, O- one, B- four, C+ and C- three.
    """
    if not charge:
        return NEUTRAL.get(number, ())
    return _CHARGED.get((number, charge), ())


_CHARGED = {
    (NUMBERS[symbol], charge): valences
    for symbol, charge, valences in [
        ("H", 1, (0,)), ("H", -1, (0,)), ("B", -1, (4,)), ("C", 1, (3,)), ("C", -1, (3,)),
        ("N", 1, (4,)), ("N", -1, (2,)), ("O", 1, (3,)), ("O", -1, (1,)), ("F", -1, (0,)),
        ("Si", -1, (5,)), ("P", 1, (4,)), ("P", -1, (2, 6)), ("S", 1, (3, 5)), ("S", -1, (1, 3, 5)),
        ("Cl", -1, (0,)), ("Se", 1, (3, 5)), ("Se", -1, (1,)), ("Br", -1, (0,)), ("I", -1, (0,)),
    ]
}  # fmt: skip


def used(molecule: Molecule) -> NDArray[np.int64]:
    """(n,) the orders of the bonds of each atom, added up."""
    return summed(molecule.bonds[:, :2], molecule.bonds[:, 2], len(molecule))


def summed(ends: NDArray[Any], orders: NDArray[Any], count: int) -> NDArray[np.int64]:
    """(count,) the orders (m,) of bonds between atoms (m, 2), added up for each atom."""
    found = np.zeros(count, np.int64)
    np.add.at(found, ends, orders[:, None])
    return found


def stable(molecule: Molecule, *, charges: bool) -> NDArray[np.bool_]:
    """(n,) whether each atom has a number of bonds that its element takes.

    Args:
        molecule: its hydrogens have to be atoms.
        charges: go by the formal charges; without, by those of neutral elements alone, as Hoogeboom
            et al. 2022 (arXiv:2203.17003) do.
    """
    values: list[Any] = [
        count in accepted(number, charge if charges else 0)
        for number, charge, count in zip(
            molecule.elements.tolist(), molecule.charges.tolist(), used(molecule).tolist(),
            strict=True,
        )
    ]  # fmt: skip
    return np.array(values, dtype=bool)
