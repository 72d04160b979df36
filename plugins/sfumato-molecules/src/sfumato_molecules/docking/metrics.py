"""How close poses are to the truth, and whether atoms stand in each other's way.

Distances are those of poses as they are, over the symmetries of the graph of the ligand (elements
and bonds, whatever the orders; as spyrmsd, Meli & Biggin 2020, doi:10.1186/s13321-020-00455-2).
"""

from __future__ import annotations

__all__ = [
    "Pose", "Poses", "agreement", "auroc", "judge", "metrics", "overlaps", "rmsds", "symmetries",
]  # fmt: skip

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfumato import Batch, Dataset, Fields
from sfumato_eval import Score, Vectors
from sfumato_eval.score import Better

from ..chem import quiet, rdkit, sanitised
from ..looking import shares, tabled
from ..measures import sane
from ..molecule import Molecule
from .complexes import ligands_of
from .pose import posed

Array = NDArray[Any]

NEAR = 2.0
"""Angstrom: a pose as near to the truth is a success."""

SYMMETRIES = 1000
"""At most so many are tried."""

OVERLAP = 0.75
"""Atoms nearer than this share of their van der Waals radii overlap (Buttenschoen et al. 2023,
PoseBusters, arXiv:2308.05777, table 2)."""


class Pose(NamedTuple):
    """What is told of one pose."""

    rmsd: float  # angstrom, over symmetries
    centroid: float  # angstrom, of the middles
    sane: bool  # see `judge`


def symmetries(ligand: Molecule) -> Array:
    """(S, n) orders of the atoms that leave elements and bonds as they are; the first is none."""
    chem = rdkit()
    made = chem.RWMol()
    for number in ligand.elements.tolist():
        atom = chem.Atom(number)
        atom.SetNoImplicit(True)
        made.AddAtom(atom)
    for i, j, _ in ligand.bonds.tolist():
        made.AddBond(i, j, chem.BondType.SINGLE)
    with quiet():
        plain = made.GetMol()
        plain.UpdatePropertyCache(strict=False)
        found = plain.GetSubstructMatches(plain, uniquify=False, maxMatches=SYMMETRIES)
    every = [tuple(range(len(ligand))), *found]
    return np.array(list(dict.fromkeys(every)), np.int64)


def rmsds(places: Array, true: Array, orders: Array) -> Array:
    """(P,) root mean square distances of poses (P, n, 3) to (n, 3), the least over `orders`."""
    gap = places[:, None].astype(np.float64) - true[orders].astype(np.float64)
    least: Array = np.sqrt(np.square(gap).sum(-1).mean(-1)).min(1)
    return least


def agreement(places: Array, orders: Array) -> Array:
    """(P,) how far poses (P, n, 3) of one ligand agree with the others, in [0, 1].

    The mean of exp(-(RMSD / 2 angstrom)^2) to each other pose; 1 where there is no other.
    """
    count = len(places)
    if count == 1:
        return np.ones(1)
    close = np.stack([np.exp(-np.square(rmsds(places, own, orders) / NEAR)) for own in places])
    found: Array = (close.sum(0) - 1) / (count - 1)
    return found


def auroc(score: Array, hit: Array) -> float:
    """Chance that the score of a hit is above that of a miss, ties counted half; NaN without both.

    Args:
        score: (P,).
        hit: (P,) bool.
    """
    hits, misses = score[hit], np.sort(score[~hit])
    if not len(hits) or not len(misses):
        return float("nan")
    below = [np.searchsorted(misses, hits, side) for side in ("left", "right")]
    return float(np.mean(below) / len(misses))


def overlaps(ligand: Array, places: Array, receptor: Array, around: Array) -> int:
    """Pairs of ligand and receptor atoms nearer than 75 % of their van der Waals radii."""
    far = np.linalg.norm(places[:, None] - around, axis=-1)
    radii = _radii()
    return int((far < OVERLAP * (radii[ligand][:, None] + radii[receptor])).sum())


@cache
def _radii() -> Array:
    table = rdkit().GetPeriodicTable()
    return np.array([table.GetRvdw(number) if number else 0.0 for number in range(119)])


def judge(made: Molecule, true: Molecule, receptor: Array, around: Array, orders: Array) -> Pose:
    """One pose against the truth.

    It is sane where the ligand passes the checks of `measures.sane`, and does not overlap with the
    receptor in more pairs of atoms than the truth does (which it does at a bond that was cut).
    """
    assert made.positions is not None and true.positions is not None
    rmsd = float(rmsds(made.positions[None], true.positions, orders)[0])
    centroid = float(np.linalg.norm(made.positions.mean(0) - true.positions.mean(0)))
    mol = sanitised(made, explicit=False)
    whole = mol is not None and all(sane(mol).values())
    count, there = (
        overlaps(m.elements, m.positions, receptor, around)  # type: ignore[arg-type]
        for m in (made, true)
    )
    return Pose(rmsd, centroid, whole and count <= there)


def poses(batch: Batch, about: Mapping[str, Any]) -> list[Pose]:
    """Each pose of a batch against where its ligand was given."""
    x: Fields = batch.x
    told = x["complex"]
    made = ligands_of(x, posed(x).data, about)
    true = ligands_of(x, told["places"].data, about)
    found = []
    numbers = np.array([_number(symbol) for symbol in about["elements"]] + [6])
    for item, (one, other) in enumerate(zip(made, true, strict=True)):
        own = told["receptor"].owner == item
        around = (told["receptor"].data[own] + told["origin"][item]).numpy()
        receptor = numbers[told["kinds"].data[own].numpy()]
        found.append(judge(one, other, receptor, around, symmetries(other)))
    return found


def _number(symbol: str) -> int:
    return int(rdkit().GetPeriodicTable().GetAtomicNumber(symbol))


@dataclass(frozen=True, eq=False)
class Poses:
    """The share of poses within 2 angstrom of the truth, each drawn once.

    Its parts: within 1 angstrom; the middle within 2 angstrom; sane (`judge`); the median RMSD.

    Attributes:
        about: facts of the data.
    """

    about: Mapping[str, Any]
    name: str = "within 2 angstrom"
    better: Better = "higher"

    def summary(self, batch: Batch) -> Vectors:
        """RMSD, distance of the middles, and whether it is sane, of each pose."""
        return tabled(poses(batch, self.about), 3)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """Shares of `a`; `b` plays no part."""
        rmsd, centroid, whole = a.rows.unbind(1)
        marks = Vectors.of(
            tabled(
                zip(rmsd <= NEAR, rmsd <= NEAR / 2, centroid <= NEAR, whole, strict=True), 4
            ).rows,
            4,
        )
        parts = shares(marks, ("success", "within 1 angstrom", "middle within 2 angstrom", "sane"))
        value = parts.pop("success")
        parts["median RMSD"] = float(rmsd.median())
        return Score(value, a.n, None, "poses, RMSD over symmetries", "higher", parts)


def metrics(train: Dataset) -> Sequence[Any]:
    """`Poses` of the facts of the data."""
    return [Poses(train.about)]
