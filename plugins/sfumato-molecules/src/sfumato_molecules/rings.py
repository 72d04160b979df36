"""Aromatic bonds of graphs: a class of their own, and single and double ones in molecules.

A ring whose bonds alternate has two Kekule structures, of which data has one at random. A model
that draws bond by bond would mix the two, and atoms get too many bonds; so graphs of bonds have
aromatic ones, as those of Vignac et al. 2022 (arXiv:2209.14734) have.
"""

from __future__ import annotations

__all__ = ["AROMATIC", "ORDERS", "kekulised", "perceived"]

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chem import sanitised
from .molecule import Molecule
from .valences import accepted, summed

Array = NDArray[Any]

AROMATIC = 4
"""The class of an aromatic bond; the others are orders, 0 for none."""

ORDERS = (0.0, 1.0, 2.0, 3.0, 1.5)
"""What each class of a pair counts as for the valences of its atoms; the first is no bond."""


def perceived(molecule: Molecule) -> Array:
    """(m,) the class of each bond: its order, `AROMATIC` where RDKit sees it as such."""
    found = molecule.bonds[:, 2].astype(np.int64)
    made = sanitised(replace(molecule, positions=None)) if (found == 2).any() else None
    if made is None:
        return found
    ring = [bond.GetIsAromatic() for bond in made.GetBonds()]
    return np.where(ring, AROMATIC, found)


def kekulised(elements: Array, charges: Array, bonds: Array) -> Array:
    """(m, 3) bonds with aromatic ones as single and double, hydrogens left to the valences.

    Doubles are a matching of the atoms that take one more bond: one that reaches as many carbons as
    can be, and of those that do, as many others. What is left of a ring that a sample has only in
    part is then a chain with single and double bonds; RDKit is not asked.

    Args:
        elements: (n,) atomic numbers.
        charges: (n,) formal charges.
        bonds: (m, 3) rows (i, j, class).
    """
    ring = bonds[:, 2] == AROMATIC
    if not ring.any():
        return bonds
    import networkx as nx

    graph = nx.Graph(bonds[ring, :2].tolist())
    used = summed(bonds[:, :2], np.where(ring, 1, bonds[:, 2]), len(elements))
    takes = {a for a in graph if _room(int(elements[a]), int(charges[a]), int(used[a]))}
    first = len(graph) + 1  # one carbon more outweighs all others
    worth = {a: first if elements[a] == 6 and not charges[a] else 1 for a in takes}
    weighed = nx.Graph()
    weighed.add_weighted_edges_from(
        (a, b, worth[a] + worth[b]) for a, b in graph.subgraph(takes).edges
    )
    pairs = {frozenset(pair) for pair in nx.max_weight_matching(weighed)}
    double = [frozenset(pair) in pairs for pair in bonds[:, :2].tolist()]
    found = bonds.copy()
    found[:, 2] = np.where(ring, 1 + np.array(double), bonds[:, 2])
    return found


def _room(number: int, charge: int, used: int) -> bool:
    """Whether an atom with so many bonds takes one more."""
    more = [most for most in accepted(number, charge) if most >= used]
    return bool(more) and more[0] > used
