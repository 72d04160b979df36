"""A ligand and what it is docked to, and the state that a model has of them.

The state of a batch is `Fields` of the pose and of what never changes:

- `translation` (B, 3): the middle of the ligand, from the middle of the receptor, angstrom.
- `rotation` (B, 3, 3): of the ligand about its middle, from how it is given.
- `torsions`, `Ragged` (T,): turns of its rotatable bonds, radians, from how it is given.
- `complex`, `Fields`: see `state_of`. A pose is what `pose.posed` makes of all.

The pose of a data set is where its ligand is given: (middle, identity, 0). No model can tell: it
sees places alone, and begins at poses that are uniform, whatever they are counted from.
"""

from __future__ import annotations

__all__ = ["LARGEST", "Complex", "joined", "ligands_of", "parts_of", "state_of", "torsions"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import Fields, InputError, Ragged

from ..chem import quiet, rdkit, sanitised
from ..molecule import SYMBOLS, Molecule, checked
from .chemistry import FEATURES

Array = NDArray[Any]

LARGEST = 600
"""Atoms of the largest receptor part: a network looks at all pairs of its atoms."""

TURNED = "[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]"
"""Rotatable bonds: single, in no ring, no end of which is the last atom or at a triple bond."""

MOST = 60
"""Rotatable bonds of a ligand; which atoms each moves is kept in the bits of a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Complex:
    """A ligand in its receptor.

    Attributes:
        ligand: heavy atoms with their places and bonds.
        receptor: (n,) uint8, atomic numbers of the heavy atoms around.
        places: (n, 3) float32, angstrom, in the frame of the ligand.
        key: complexes of the same key are held out together.
        name: where it is from.
        features: (l + n, 5) of the atoms of the ligand, then of the receptor, see
            `chemistry.features`, -1 where they are not known.
    """

    ligand: Molecule
    receptor: Array
    places: Array
    features: Array
    key: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.ligand.positions is None or not len(self.receptor):
            raise InputError(f"{self.name}: a complex has a ligand with places, and a receptor")
        if len(self.receptor) > LARGEST:
            raise InputError(
                f"{self.name}: {len(self.receptor)} atoms of the receptor are near the ligand, at "
                f"most {LARGEST} are taken; ask for a smaller pocket"
            )
        shape = (len(self.ligand) + len(self.receptor), len(FEATURES))
        if self.features.shape != shape:
            raise InputError(
                f"{self.name}: features have the shape {self.features.shape}, not {shape}"
            )


def torsions(ligand: Molecule) -> tuple[Array, Array]:
    """The rotatable bonds of a molecule, and what each of them moves.

    Returns:
        (T, 2) bonds (u, v), those atoms being turned that stand on the side of v, the smaller one;
        and (n,) int64, of each atom the bits of the bonds that move it.

    Raises:
        InputError: if RDKit does not accept the molecule, or it has more than 60 such bonds.
    """
    made = sanitised(ligand, explicit=False)
    if made is None:
        raise InputError(f"{ligand.source} has impossible valences, so no bond of it can be turned")
    with quiet():
        found = made.GetSubstructMatches(rdkit().MolFromSmarts(TURNED))
    if len(found) > MOST:
        raise InputError(f"{ligand.source} has {len(found)} rotatable bonds; at most {MOST} go")
    axes, moves = [], np.zeros(len(ligand), np.int64)
    for bit, (u, v) in enumerate(sorted(found)):
        side = beyond(ligand, u, v)
        if 2 * side.sum() > len(ligand):
            u, v, side = v, u, ~side
        axes.append((u, v))
        moves |= side.astype(np.int64) << bit
    return np.array(axes, np.int64).reshape(-1, 2), moves


def beyond(molecule: Molecule, u: int, v: int) -> Array:
    """(n,) bool: the atoms on the side of v, where the bond of u and v is cut."""
    around: list[list[int]] = [[] for _ in range(len(molecule))]
    for i, j, _ in molecule.bonds.tolist():
        around[i].append(j)
        around[j].append(i)
    side = np.zeros(len(molecule), bool)
    side[v], todo = True, [v]
    while todo:
        at = todo.pop()
        for j in around[at]:
            if not side[j] and {at, j} != {u, v}:
                side[j] = True
                todo.append(j)
    return side


def state_of(complexes: Sequence[Complex], about: Mapping[str, Any]) -> Fields:
    """Complexes as a state, their ligands where they are given.

    Its part `complex` has `origin` (B, 3), the middle of the receptor; of the ligands `places`
    (from there), `atoms` (class, charge), `bonds` (i, j, order), `axes` and `moves` of `torsions`;
    of the receptors `receptor` (places) and `kinds` (classes); of both, the ligand first,
    `features`. All are `Ragged` but the first, and atoms of an item are counted from 0. The class
    of an atom is its place among the `elements` of the facts, or one more.
    """
    return joined([parts_of(one, about) for one in complexes])


def joined(parts: Sequence[Mapping[str, Array]]) -> Fields:
    """The state of complexes whose arrays are at hand, see `parts_of`."""
    rows: dict[str, Ragged] = {}
    for name in ("places", "atoms", "bonds", "axes", "moves", "receptor", "kinds", "features"):
        each = [torch.from_numpy(part[name]) for part in parts]
        counts = torch.tensor([len(rows) for rows in each])
        rows[name] = Ragged(torch.cat(each), torch.repeat_interleave(counts), len(parts))
    origin = torch.from_numpy(np.stack([part["origin"] for part in parts]))
    middle = torch.stack([torch.from_numpy(part["places"]).mean(0) for part in parts])
    axes = rows["axes"]
    return Fields(
        translation=middle,
        rotation=torch.eye(3).repeat(len(parts), 1, 1),
        torsions=Ragged(torch.zeros(len(axes.data)), axes.owner, axes.items),
        complex=Fields(origin=origin, **rows),
    )


def parts_of(one: Complex, about: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of one complex, by the names of its part of the state."""
    assert one.ligand.positions is not None
    origin = one.places.mean(0)
    axes, moves = torsions(one.ligand)
    return {
        "origin": origin.astype(np.float32),
        "places": (one.ligand.positions - origin).astype(np.float32),
        "atoms": np.stack((_classes(one.ligand.elements, about), one.ligand.charges), 1).astype(
            np.int64
        ),
        "bonds": one.ligand.bonds.astype(np.int64),
        "axes": axes,
        "moves": moves,
        "receptor": (one.places - origin).astype(np.float32),
        "kinds": _classes(one.receptor, about),
        "features": one.features.astype(np.int64),
    }


def _classes(numbers: Array, about: Mapping[str, Any]) -> Array:
    known: list[str] = list(about["elements"])
    table = np.full(len(SYMBOLS), len(known), np.int64)
    for place, symbol in enumerate(known):
        table[SYMBOLS.index(symbol)] = place
    found: Array = table[numbers.astype(np.int64)]
    return found


def ligands_of(
    x: Fields, places: Tensor, about: Mapping[str, Any], names: Sequence[str] = ()
) -> list[Molecule]:
    """The ligands of a batch, their atoms (N, 3) at `places` from the middle of the receptor.

    Raises:
        InputError: if an atom is of an element that the model does not know: it cannot be told.
    """
    told: Fields = x["complex"]
    found = []
    for item in range(len(told["origin"])):
        own = {name: told[name].data[told[name].owner == item] for name in ("atoms", "bonds")}
        kinds = own["atoms"][:, 0].tolist()
        if any(kind >= len(about["elements"]) for kind in kinds):
            raise InputError(
                "a ligand has an element that the model was not trained on; those are "
                f"{', '.join(about['elements'])}"
            )
        at = places[told["places"].owner == item] + told["origin"][item]
        name = names[item] if item < len(names) else ""
        found.append(
            checked(
                [SYMBOLS.index(about["elements"][kind]) for kind in kinds],
                at.double().numpy(),
                own["atoms"][:, 1].numpy(),
                own["bonds"].numpy(),
                {"name": name} if name else {},
                name,
                "file",
            )
        )
    return found
