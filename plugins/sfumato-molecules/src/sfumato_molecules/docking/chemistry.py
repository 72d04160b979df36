"""What the bonds of an atom's own molecule tell of it: what a network is given besides its element.

The features are ordinary ones, of those that DiffDock feeds (Corso et al. 2022, arXiv:2210.01776,
appendix D): bonds to heavy atoms, hydrogens, the sum of the orders of all its bonds, in a ring,
aromatic. Places of heavy atoms alone do not tell them: CH3 and CH2 look alike.
"""

from __future__ import annotations

__all__ = ["FEATURES", "features", "of_structure", "unknown"]

from typing import Any

import numpy as np

from ..chem import quiet, rdkit
from ..molecule import Array

FEATURES = (5, 4, 7, 2, 2)
"""Values told apart of each: heavy neighbours, hydrogens, valence, in a ring, aromatic."""


def unknown(count: int) -> Array:
    """(n, 5) features of atoms of which nothing is known: -1."""
    return np.full((count, len(FEATURES)), -1, np.int64)


def features(made: Any) -> Array:
    """(n, 5) int64 features of the atoms of a sanitised RDKit molecule without hydrogen atoms."""
    rows = [
        (a.GetDegree(), a.GetTotalNumHs(), a.GetTotalValence(), a.IsInRing(), a.GetIsAromatic())
        for a in made.GetAtoms()
    ]
    table = np.array(rows, np.int64).reshape(-1, len(FEATURES))
    found: Array = np.minimum(table, np.array(FEATURES) - 1)
    return found


def of_structure(atoms: Any) -> Array:
    """(n, 5) features of the heavy atoms of a structure of biotite.

    Bonds are those that the Chemical Component Dictionary has of its residues, and between them;
    hydrogens fill up the valences of neutral atoms. Atoms without bonds have -1: metals, and those
    of residues that the dictionary lacks.
    """
    from biotite.interface.rdkit import to_mol
    from biotite.structure import connect_via_residue_names

    chem, atoms = rdkit(), atoms.copy()
    atoms.bonds = connect_via_residue_names(atoms)
    told = np.zeros(len(atoms), bool)
    told[atoms.bonds.as_array()[:, :2].ravel()] = True
    found = unknown(len(atoms))
    with quiet():
        made = to_mol(atoms, explicit_hydrogen=False)
        made.UpdatePropertyCache(strict=False)
        chem.SanitizeMol(made, chem.SANITIZE_ALL ^ chem.SANITIZE_PROPERTIES, catchErrors=True)
        made.UpdatePropertyCache(strict=False)
    found[told] = features(made)[told]
    return found
