"""Complexes from files, and the demo: molecules cut in two, one part docked to the other."""

from __future__ import annotations

__all__ = ["Complexes", "cut", "dataset", "pieces", "pocket", "read", "receptor_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sfumato import Batch, InputError

from .. import chem, files
from ..chem import quiet, rdkit, sanitised, sentence
from ..components import demo_path
from ..files import ORGANIC
from ..molecule import NUMBERS, SYMBOLS, Array, Molecule, checked
from . import chemistry
from .complexes import TURNED, Complex, beyond, joined, parts_of, state_of
from .examples import sizes_of

POCKET = 8.0
"""Angstrom: atoms of a receptor as near to an atom of the ligand are taken."""

WATER = {"HOH", "WAT", "DOD", "H2O"}
LIGANDS = (".sdf", ".mol2", ".mol")
FEWEST, SMALL, HEAVY, DEMO = 8, (5, 14), 26, 3000
"""Of the demo: atoms of the receptor part, of the ligand part, of the molecule; molecules read."""


@dataclass(frozen=True, eq=False)
class Complexes:
    """A data set of complexes.

    The facts `about`: `elements` (symbols of both sides), `spread` (angstrom, root mean square of a
    number of the translations), `sizes` (see `examples.sizes_of`).
    """

    complexes: Sequence[Complex]
    about: Mapping[str, Any]

    def __len__(self) -> int:
        """Number of complexes."""
        return len(self.complexes)

    def batch(self, index: Sequence[int]) -> Batch:
        """The complexes at `index` as a state, their ligands where they are given."""
        chosen = [self.complexes[i] for i in index]
        x = joined([self._parts[i] for i in index])
        return Batch(x, {}, {"name": [one.name for one in chosen]})

    @cached_property
    def _parts(self) -> list[dict[str, Array]]:
        return [parts_of(one, self.about) for one in self.complexes]

    @cached_property
    def _keys(self) -> list[str]:
        return [one.key or one.name for one in self.complexes]

    def keys(self) -> Sequence[str]:
        """What is held out together: complexes of the same molecule, or of the same name."""
        return self._keys


def dataset(complexes: Sequence[Complex], about: Mapping[str, Any] | None = None) -> Complexes:
    """Complexes at hand as a data set.

    Args:
        complexes: the items.
        about: facts of other data that they are shown to a model of; None: made from these.

    Raises:
        InputError: if there are none.
    """
    if not complexes:
        raise InputError("there are no complexes")
    if about is not None:
        return Complexes(complexes, about)
    numbers = np.unique(
        np.concatenate([n for c in complexes for n in (c.ligand.elements, c.receptor)])
    )
    facts: dict[str, Any] = {"elements": [SYMBOLS[n] for n in numbers.tolist()]}
    x = state_of(complexes, facts)
    facts["spread"] = max(0.5, float(x["translation"].square().mean().sqrt()))
    facts["sizes"] = sizes_of(x)
    return Complexes(complexes, facts)


def read(
    path: Path,
    *,
    pocket: float = POCKET,
    most: int = DEMO,
    about: Mapping[str, Any] | None = None,
) -> Complexes:
    """Complexes of a folder, laid out as PDBBind is.

    Each folder, at any depth, that holds a receptor (`.pdb`, of several the one whose name has
    `protein` or `receptor`) and a ligand (`.sdf`, `.mol2` or `.mol`, in this order, of several the
    one whose name ends in `ligand`) is one complex. The demo's file, the Chemical Component
    Dictionary, is taken too: its molecules are cut in two (`pieces`).

    Args:
        path: a folder, or `components.demo_path()`.
        pocket: angstrom; atoms of the receptor as near to the ligand are taken.
        most: molecules of the demo that are read, evenly.
        about: see `dataset`.

    Raises:
        InputError: if there is no complex, or one cannot be read, and why.
    """
    path = Path(path)
    if path == demo_path():
        return dataset(pieces(most), about)
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder of complexes; each has a folder with a receptor (.pdb) and a "
            f"ligand ({', '.join(LIGANDS)})"
        )
    found = [
        pocket_of(*pair, pocket=pocket, name=folder.name)
        for folder in (path, *sorted(f for f in path.rglob("*") if f.is_dir()))
        if (pair := _pair(folder)) is not None
    ]
    if not found:
        raise InputError(
            f"{path} holds no complexes; each is a folder with a receptor (.pdb) and a ligand "
            f"({', '.join(LIGANDS)})"
        )
    return dataset(found, about)


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """Receptor and ligand of a folder; None: it is no complex."""
    own = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    receptors = [f for f in own if f.suffix.lower() == ".pdb"]
    named = [f for f in receptors if "protein" in f.stem or "receptor" in f.stem]
    ligands = sorted(
        (f for f in own if f.suffix.lower() in LIGANDS),
        key=lambda f: LIGANDS.index(f.suffix.lower()),
    )
    exact = [f for f in ligands if f.stem.endswith("ligand")]
    receptor, ligand = (named or receptors)[:1], (exact or ligands)[:1]
    return (receptor[0], ligand[0]) if receptor and ligand else None


def pocket_of(receptor: Path, ligand: Path, *, pocket: float = POCKET, name: str = "") -> Complex:
    """The complex of two files; see `read`.

    Raises:
        InputError: if one cannot be read, the ligand is not one molecule with places, or no atom of
            the receptor is near it.
    """
    molecule = ligand_of(ligand)
    if molecule.positions is None:
        raise InputError(f"{ligand}: the ligand has no places, so its pocket is not known")
    return _near(molecule, receptor_of(receptor), molecule.positions, pocket, name or ligand.stem)


def _near(ligand: Molecule, receptor: Receptor, middle: Array, pocket: float, name: str) -> Complex:
    """The atoms of a receptor within `pocket` of any of some places."""
    far = np.linalg.norm(receptor.places[:, None] - middle, axis=-1).min(1)
    near = far <= pocket
    if not near.any():
        raise InputError(
            f"{name}: no atom of the receptor is within {pocket:g} angstrom of the ligand, the "
            f"nearest {far.min():.1f}; are they in one frame?"
        )
    made = sanitised(ligand, explicit=False)
    own = chemistry.unknown(len(ligand)) if made is None else chemistry.features(made)
    told = np.concatenate((own, receptor.features[near]))
    return Complex(ligand, receptor.elements[near], receptor.places[near], told, name, name)


def pocket(
    receptor: Path, ligand: Path, centre: Sequence[float], *, radius: float, name: str = ""
) -> Complex:
    """The complex of a ligand that is not placed yet, and the receptor around a point.

    Without places in space the ligand gets those of an RDKit conformer.

    Args:
        receptor: a PDB file.
        ligand: a file with one molecule.
        centre: (3,) angstrom.
        radius: angstrom; atoms of the receptor as near to the centre are taken.
        name: of the complex.

    Raises:
        InputError: as `pocket_of` does; if no conformer can be made.
    """
    molecule = ligand_of(ligand)
    if molecule.positions is None:
        molecule = _embedded(molecule)
    assert molecule.positions is not None
    at = np.asarray(centre, np.float32)
    moved = molecule.positions - molecule.positions.mean(0) + at
    molecule = replace(molecule, positions=moved.astype(np.float32))
    return _near(molecule, receptor_of(receptor), at[None], radius, name or ligand.stem)


def ligand_of(path: Path) -> Molecule:
    """The one molecule of a file, without its hydrogens."""
    how = files.Reading(hydrogens="drop", strict=True, infer="rdkit", valences=False)
    found = files.read(path, how).molecules
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} molecules; a complex has one ligand")
    return found[0]


def _embedded(molecule: Molecule) -> Molecule:
    from rdkit.Chem import rdDistGeom

    made = sanitised(molecule, explicit=False)
    if made is not None:
        with quiet():
            full = rdkit().AddHs(made)
            if rdDistGeom.EmbedMolecule(full, randomSeed=7) == 0:
                bare = rdkit().RemoveAllHs(full)
                return replace(molecule, positions=bare.GetConformer().GetPositions())
    raise InputError(f"{molecule.source}: RDKit makes no conformer of it; give places in space")


class Receptor(NamedTuple):
    """Heavy atoms of a receptor."""

    elements: Array  # (n,) uint8
    places: Array  # (n, 3) float32, angstrom
    features: Array  # (n, 5), see `chemistry.of_structure`


def receptor_of(path: Path) -> Receptor:
    """The heavy atoms of a PDB file, without water.

    Of several models and alternative places the first are taken. Bonds are those of the residues.

    Raises:
        InputError: if it cannot be read, or holds no atoms.
    """
    from biotite.structure.io.pdb import PDBFile

    try:
        made = PDBFile.read(str(path)).get_structure(model=1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever the parser raises on a damaged file
        raise InputError(f"{path} cannot be read as PDB: {sentence(error)}") from None
    numbers = np.array([NUMBERS.get(e.capitalize(), 0) for e in made.element.tolist()], np.uint8)
    kept = (numbers > 1) & ~np.isin(made.res_name, list(WATER))
    places = made.coord[kept].astype(np.float32)
    if not kept.any() or not np.isfinite(places).all():
        raise InputError(f"{path} holds no heavy atoms with places")
    return Receptor(numbers[kept], places, chemistry.of_structure(made[kept]))


def pieces(most: int) -> list[Complex]:
    """Molecules of the wwPDB's Chemical Component Dictionary, each cut in two at a bond.

    The smaller part is the ligand, with rotatable bonds of its own; the rest is what it is docked
    to. Hydrogens of the features are those of the whole molecule, so that an end of the bond that
    is cut has a free valence. The truth is real geometry, settled but for the turn about that bond:
    but it is the geometry of one molecule, whose parts touch, and not that of a binding site.

    Args:
        most: molecules that are read, evenly from the dictionary.
    """
    how = files.Reading(elements=ORGANIC, heavy=HEAVY, fewest=sum(SMALL), most=most)
    found = [cut(molecule) for molecule in files.read(demo_path(), how).molecules]
    return [one for one in found if one is not None]


def cut(molecule: Molecule) -> Complex | None:
    """A molecule as a ligand and the rest; None where no bond leaves 5 to 14, and 8 or more."""
    bare = _heavy(molecule)
    made = None if bare is None else sanitised(bare, explicit=False)
    if bare is None or made is None:
        return None
    with quiet():
        found = sorted(made.GetSubstructMatches(rdkit().MolFromSmarts(TURNED)))
    best: Array | None = None
    ends: tuple[int, int] = (0, 0)
    for u, v in found:
        side = beyond(bare, u, v)
        side = ~side if 2 * side.sum() > len(bare) else side
        size = int(side.sum())
        if SMALL[0] <= size <= SMALL[1] and len(bare) - size >= FEWEST:
            if best is None or size > best.sum():
                best, ends = side, (u, v)
    if best is None or bare.positions is None:
        return None
    name = str(molecule.properties.get("id", molecule.source))
    ligand = _part(bare, best, name)
    if sanitised(ligand, explicit=False) is None:
        return None
    told = chemistry.features(made)
    for end in ends:  # the bond that is cut is not there: a neighbour and an order less
        told[end, [0, 2]] -= 1
    return Complex(
        ligand, bare.elements[~best], bare.positions[~best],
        np.concatenate((told[best], told[~best])), chem.key(molecule), name,
    )  # fmt: skip


def _heavy(molecule: Molecule) -> Molecule | None:
    """The molecule without hydrogens; None if RDKit does not take it, or some stay."""
    made = sanitised(molecule)
    if made is None:
        return None
    try:
        bare = chem.from_rdkit(made, source=molecule.source, hydrogens="drop")
    except InputError:
        return None
    return None if chem.has_hydrogens(bare) else bare


def _part(molecule: Molecule, side: Array, name: str) -> Molecule:
    assert molecule.positions is not None
    index = np.cumsum(side) - 1
    rows = [
        (index[i], index[j], order)
        for i, j, order in molecule.bonds.tolist()
        if side[i] and side[j]
    ]
    return checked(
        molecule.elements[side], molecule.positions[side], molecule.charges[side], rows,
        {"name": name}, name, "file",
    )  # fmt: skip
