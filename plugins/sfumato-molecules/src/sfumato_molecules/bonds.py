"""Bonds from distances, and connected parts."""

from __future__ import annotations

__all__ = ["fragments", "inferred", "lengths", "part"]

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any, Literal

import networkx as nx
import numpy as np

from sfumato import InputError

from .molecule import NUMBERS, Molecule
from .valences import accepted, summed

SLACK = 0.05
"""Angstrom that a bond may be longer than nearly all measured ones."""

HYPERVALENT, LENGTH = 0.4, 0.03
"""What a second bond counts that raises an atom above its next valence, and at most for being
short; one that completes a valence counts 1."""

OXYGEN, NITROGEN = 8, 7


@cache
def lengths() -> Mapping[tuple[int, int], Mapping[int, tuple[float, float]]]:
    """(median, longest) length in angstrom of each order of bond of each pair of elements.

    Of the ideal geometries of the Chemical Component Dictionary, aromatic bonds kekulised; the
    longest are exceeded by one in 2,000. `tools/bond_lengths.py` measures them.
    """
    text = resources.files(__package__).joinpath("bond_lengths.json").read_text(encoding="utf-8")
    found: dict[tuple[int, int], dict[int, tuple[float, float]]] = {}
    for name, orders in json.loads(text)["lengths"].items():
        a, b = (NUMBERS[symbol] for symbol in name.split("-"))
        values = {int(k): (float(v[0]), float(v[1])) for k, v in orders.items()}
        found[a, b] = found[b, a] = values
    return found


@cache
def _reach() -> Any:
    """(119, 119) distance up to which two elements have a bond: measured, else by radii."""
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    radii = np.array([0.0, *(table.GetRcovalent(i) for i in range(1, 119))])
    reach = 1.15 * (radii[:, None] + radii)
    for (a, b), orders in lengths().items():
        reach[a, b] = max(longest for _, longest in orders.values())
    return reach + SLACK


def inferred(
    molecule: Molecule, how: Literal["distances", "rdkit"] = "distances", *, charged: bool = True
) -> Molecule:
    """The molecule with the bonds that its places tell.

    By `distances`, atoms nearer than the longest measured bond of their elements have one; then
    second and third bonds are given out where they are short enough such that as many valences as
    can be are complete: a matching of largest weight between atoms that lack some (Edmonds 1965).
    By `rdkit`, its `DetermineBonds` (Kim & Kim 2015, doi:10.1002/bkcs.10334).

    Args:
        molecule: what is to have bonds; bonds that it has are replaced.
        how: by what.
        charged: whether its charges are known; where not, N with four bonds, nitro groups, N-oxides
            and oxygens that lack one bond get theirs.

    Raises:
        InputError: if it has no places, or RDKit finds no bonds.
    """
    if molecule.positions is None:
        raise InputError("bonds cannot be told without coordinates")
    if how == "rdkit":
        return _by_rdkit(molecule)
    pairs = _neighbours(molecule)
    charges = molecule.charges
    if not charged:
        charges = _amended(molecule, pairs)
    orders = _orders(molecule.elements, charges, pairs, molecule.positions)
    rows = np.column_stack([pairs, orders]).astype(np.int16)
    told = "distances" if len(rows) else ""
    return replace(molecule, charges=charges, bonds=rows, bonds_from=told)


def _neighbours(molecule: Molecule) -> Any:
    """(m, 2) pairs of atoms that are near enough for a bond, i < j."""
    assert molecule.positions is not None
    places = molecule.positions.astype(np.float64)
    gap = places[:, None] - places
    squared = np.einsum("ijk,ijk->ij", gap, gap)
    reach = _reach()[molecule.elements[:, None], molecule.elements]
    return np.argwhere(np.triu(squared < reach * reach, 1))


def _lacking(elements: Any, charges: Any, pairs: Any) -> tuple[list[int], list[int]]:
    """For each atom the bonds that its next valence lacks, and those beyond up to its largest."""
    degree = np.bincount(pairs.ravel(), minlength=len(elements)).tolist()
    lacks, beyond = [], []
    for number, charge, has in zip(elements.tolist(), charges.tolist(), degree, strict=True):
        above = [v for v in accepted(number, charge) if v >= has]
        lacks.append(min(above[0] - has, 2) if above else 0)
        beyond.append(above[-1] - above[0] if above else 0)
    return lacks, beyond


def _orders(elements: Any, charges: Any, pairs: Any, positions: Any) -> Any:
    """(m,) order of each bond."""
    orders = np.ones(len(pairs), np.int64)
    lacks, beyond = _lacking(elements, charges, pairs)
    spare = np.array(lacks) + np.array(beyond)
    both = (spare[pairs] > 0).all(1) & (np.array(lacks)[pairs] > 0).any(1)
    if not both.any():
        return orders
    graph = nx.Graph()
    longest: dict[tuple[int, int], tuple[int, float, float]] = {}
    ends = positions[pairs[both]].astype(np.float64)
    distances = np.sqrt(((ends[:, 0] - ends[:, 1]) ** 2).sum(-1)).tolist()
    for row, (i, j), distance in zip(
        np.flatnonzero(both).tolist(), pairs[both].tolist(), distances, strict=True
    ):
        known = lengths().get((int(elements[i]), int(elements[j])), {})
        if 2 not in known or distance > known[2][1] + SLACK:
            continue
        longest[i, j] = (row, distance, known[3][1] + SLACK if 3 in known else 0.0)
        single, double = known[1][0] if 1 in known else known[2][0] + 0.2, known[2][0]
        short = min(max((single - distance) / max(single - double, 0.02), 0.0), 1.0)
        for a in range(lacks[i] + min(beyond[i], 2)):
            for b in range(lacks[j] + min(beyond[j], 2)):
                completes = a < lacks[i] and b < lacks[j]
                weight = (1.0 if completes else HYPERVALENT) + LENGTH * short
                graph.add_edge((i, a), (j, b), weight=weight)
    for (i, _), (j, _) in _matching(graph):
        row, distance, triple = longest[min(i, j), max(i, j)]
        if orders[row] == 1 or distance <= triple:
            orders[row] += 1
    return orders


def _matching(graph: nx.Graph) -> list[Any]:
    """A matching of largest weight."""
    found: list[Any] = []
    for part in nx.connected_components(graph):
        if len(part) == 2:
            found.append(tuple(part))
        else:
            found += nx.max_weight_matching(graph.subgraph(part))
    return found


def _amended(molecule: Molecule, pairs: Any) -> Any:
    """(n,) charges of a molecule of which none are known."""
    charges = np.zeros(len(molecule), np.int8)
    elements = molecule.elements
    degree = np.bincount(pairs.ravel(), minlength=len(elements))
    charges[(elements == NITROGEN) & (degree == 4)] = 1
    neighbours: list[list[int]] = [[] for _ in elements]
    for i, j in pairs.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    for i in np.flatnonzero((elements == NITROGEN) & (degree == 3)).tolist():
        bare = [j for j in neighbours[i] if elements[j] == OXYGEN and degree[j] == 1]
        if bare:
            charges[i], charges[bare[0]] = 1, -1
    orders = _orders(elements, charges, pairs, molecule.positions)
    valence = summed(pairs, orders, len(elements))
    charges[(elements == OXYGEN) & (degree == 1) & (valence == 1) & (charges == 0)] = -1
    return charges


def _by_rdkit(molecule: Molecule) -> Molecule:
    from rdkit.Chem import rdDetermineBonds

    from .chem import from_rdkit, quiet, sentence, to_rdkit

    bare = replace(molecule, bonds=molecule.bonds[:0], charges=0 * molecule.charges)
    made = to_rdkit(bare, explicit=True)
    with quiet():
        try:
            total = int(molecule.charges.sum())
            rdDetermineBonds.DetermineBonds(made, charge=total, maxIterations=100_000)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"RDKit tells no bonds: {sentence(error)}") from None
    return from_rdkit(
        made, properties=molecule.properties, source=molecule.source, bonds_from="rdkit"
    )


def fragments(molecule: Molecule) -> Any:
    """(n,) the connected part that each atom is in, numbered from 0."""
    root = list(range(len(molecule)))
    for i, j, _ in molecule.bonds.tolist():
        while root[i] != i:
            i = root[i]
        while root[j] != j:
            j = root[j]
        root[max(i, j)] = min(i, j)
    part: list[int] = []
    number: dict[int, int] = {}
    for i, above in enumerate(root):  # the root of an atom stands before it
        part.append(number.setdefault(i, len(number)) if above == i else part[above])
    return np.array(part)


def part(molecule: Molecule, which: int) -> Molecule:
    """The atoms of one connected part, in their order."""
    kept = fragments(molecule) == which
    place = np.cumsum(kept) - 1
    rows = molecule.bonds[kept[molecule.bonds[:, 0]]]
    return replace(
        molecule,
        elements=molecule.elements[kept],
        positions=None if molecule.positions is None else molecule.positions[kept],
        charges=molecule.charges[kept],
        bonds=np.column_stack([place[rows[:, :2]], rows[:, 2]]).astype(np.int16),
    )
