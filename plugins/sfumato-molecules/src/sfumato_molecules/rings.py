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
from .molecule import AROMATIC, Molecule
from .valences import accepted

Array = NDArray[Any]

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

    Each aromatic carbon that has no double bond yet gets one, and of the others as many as can be:
    a matching of the atoms that take one more bond. Where it does not reach all carbons, or an
    aromatic bond is in no ring, all stay as they are, and RDKit will not accept the molecule.

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
    plain = np.where(ring, 1, bonds[:, 2])
    used = np.zeros(len(elements), np.int64)
    for end in (0, 1):
        np.add.at(used, bonds[:, end], plain)
    takes = {a for a in graph if _room(int(elements[a]), int(charges[a]), int(used[a]))}
    asks = {a for a in takes if elements[a] == 6 and not charges[a]}
    first = len(graph) + 1  # one carbon more outweighs all others
    ends = graph.subgraph(takes)
    weighed = nx.Graph()
    weighed.add_weighted_edges_from(
        (a, b, sum(first if end in asks else 1 for end in (a, b))) for a, b in ends.edges
    )
    pairs = {frozenset(pair) for pair in nx.max_weight_matching(weighed)}
    if not asks <= set().union(*pairs) or nx.has_bridges(graph):
        return bonds
    double = [frozenset(pair) in pairs for pair in bonds[:, :2].tolist()]
    found = bonds.copy()
    found[:, 2] = np.where(ring, 1 + np.array(double), bonds[:, 2])
    return found


def _room(number: int, charge: int, used: int) -> bool:
    """Whether an atom with so many bonds takes one more."""
    more = [most for most in accepted(number, charge) if most >= used]
    return bool(more) and more[0] > used
