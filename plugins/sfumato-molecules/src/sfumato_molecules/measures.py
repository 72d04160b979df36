"""What is measured of one molecule: descriptors, geometry, sanity, likeness of conformers."""

from __future__ import annotations

__all__ = ["CHECKS", "COMPUTED", "computed", "described", "geometry", "sane", "symmetric_rmsd"]

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from sfumato import InputError

from .chem import quiet, sanitised
from .molecule import SYMBOLS, Molecule

CHECKS = ("bond lengths", "angles", "clashes", "flat rings", "flat double bonds", "hydrogens")
"""What `sane` looks at."""

OFF, CLASH, FLAT = 0.25, 0.30, 0.25
"""Relative deviations of lengths and of distances of atoms without bond, and angstrom off a plane
(Buttenschoen et al. 2023, PoseBusters, arXiv:2308.05777, section 2)."""


def _qed(mol: Any) -> float:
    from rdkit.Chem import QED

    score: Callable[[Any], float] = QED.qed
    return float(score(mol))


@cache
def _scorer() -> Any:
    """The synthetic accessibility score that RDKit brings among its contributions.

    The script reads its own table, a part of the installed RDKit, by pickle.
    """
    import importlib.util
    from pathlib import Path

    from rdkit import RDConfig

    path = Path(RDConfig.RDContribDir, "SA_Score", "sascorer.py")
    spec = importlib.util.spec_from_file_location("_sfumato_sascorer", path)
    if spec is None or spec.loader is None or not path.exists():
        raise InputError("this RDKit lacks Contrib/SA_Score, which synthetic accessibility needs")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sa(mol: Any) -> float:
    return float(_scorer().calculateScore(mol))


def _described(name: str) -> Callable[[Any], float]:
    def value(mol: Any) -> float:
        from rdkit.Chem import Descriptors

        return float(getattr(Descriptors, name)(mol))

    return value


COMPUTED: Mapping[str, Callable[[Any], float]] = {
    "qed": _qed,
    "sa": _sa,
    "logp": _described("MolLogP"),
    "weight": _described("MolWt"),
    "tpsa": _described("TPSA"),
    "rings": _described("RingCount"),
    "donors": _described("NumHDonors"),
    "acceptors": _described("NumHAcceptors"),
}
"""Properties of a sanitised RDKit molecule: QED (Bickerton et al. 2012, doi:10.1038/nchem.1243),
synthetic accessibility (Ertl & Schuffenhauer 2009, doi:10.1186/1758-2946-1-8), logP (Wildman &
Crippen 1999, doi:10.1021/ci990307l) and others."""


def computed(molecule: Molecule, names: Sequence[str]) -> dict[str, float]:
    """Properties that RDKit computes.

    Raises:
        InputError: for a name that is neither a property of the molecule nor one of `COMPUTED`, or
            a molecule that RDKit does not accept.
    """
    for name in names:
        if name not in COMPUTED:
            there = sorted(k for k, v in molecule.properties.items() if isinstance(v, float))
            raise InputError(
                f"{molecule.source} has no number for {name!r}: it has "
                f"{', '.join(there) or 'none'}, and computed are {', '.join(COMPUTED)}"
            )
    made = sanitised(molecule)
    if made is None:
        raise InputError(f"{molecule.source} has impossible valences, so nothing can be computed")
    return described(made, names)


def described(made: Any, names: Sequence[str]) -> dict[str, float]:
    """Some of `COMPUTED` of a sanitised RDKit molecule."""
    bare = without_hydrogens(made)
    with quiet():
        return {name: COMPUTED[name](bare) for name in names}


def without_hydrogens(made: Any) -> Any:
    """A sanitised RDKit molecule, its hydrogens left to the valences where that is possible."""
    from rdkit import Chem

    with quiet():
        try:
            return Chem.RemoveHs(made)
        except (ValueError, RuntimeError):
            return made


def geometry(molecule: Molecule) -> dict[str, dict[str, list[float]]]:
    """Lengths in angstrom, angles and torsions in degrees, each by kind.

    The kind of a length is its elements and order, `C-N 2`; that of an angle its three elements and
    of a torsion its four, read from the end that comes first. Torsions are of paths of heavy atoms,
    unsigned, in [0, 180].
    """
    found: dict[str, dict[str, list[float]]] = {
        name: defaultdict(list) for name in ("bonds", "angles", "torsions")
    }
    if molecule.positions is None or not len(molecule.bonds):
        return found
    x = molecule.positions.astype(np.float64)
    elements = molecule.elements.tolist()
    around: list[list[int]] = [[] for _ in elements]
    for i, j, order in molecule.bonds.tolist():
        around[i].append(j)
        around[j].append(i)
        a, b = sorted((elements[i], elements[j]))
        kind = f"{SYMBOLS[a]}-{SYMBOLS[b]} {order}"
        found["bonds"][kind].append(float(np.linalg.norm(x[i] - x[j])))
    triples, kinds = [], []
    for centre, near in enumerate(around):
        for at, i in enumerate(near):
            for k in near[at + 1 :]:
                triples.append((i, centre, k))
                kinds.append(_kind((elements[i], elements[centre], elements[k])))
    for kind, value in zip(kinds, _angles(x, triples), strict=True):
        found["angles"][kind].append(value)
    paths, kinds = [], []
    for j, k, _ in molecule.bonds.tolist():
        for i in around[j]:
            for m in around[k]:
                path = (i, j, k, m)
                if i != k and m != j and i != m and all(elements[p] != 1 for p in path):
                    paths.append(path)
                    kinds.append(_kind(tuple(elements[p] for p in path)))
    for kind, value in zip(kinds, _torsions(x, paths), strict=True):
        found["torsions"][kind].append(value)
    return found


def _kind(numbers: tuple[int, ...]) -> str:
    return "-".join(SYMBOLS[n] for n in min(numbers, numbers[::-1]))


def _angles(x: Any, triples: Sequence[tuple[int, ...]]) -> list[float]:
    if not triples:
        return []
    i, j, k = np.array(triples).T
    u, v = x[i] - x[j], x[k] - x[j]
    cross = np.linalg.norm(np.cross(u, v), axis=1)
    return [float(a) for a in np.degrees(np.arctan2(cross, (u * v).sum(1)))]


def _torsions(x: Any, paths: Sequence[tuple[int, ...]]) -> list[float]:
    if not paths:
        return []
    i, j, k, m = np.array(paths).T
    axis = x[k] - x[j]
    first, second = np.cross(x[j] - x[i], axis), np.cross(axis, x[m] - x[k])
    sine = np.linalg.norm(np.cross(first, second), axis=1)
    return [float(a) for a in np.degrees(np.arctan2(sine, (first * second).sum(1)))]


def sane(made: Any) -> dict[str, bool]:
    """Which of `CHECKS` a sanitised RDKit molecule with places passes.

    As PoseBusters does among heavy atoms: lengths and distances over one angle within 25 % of the
    bounds of distance geometry, other atoms no nearer than 70 % of theirs; aromatic rings of five
    and six sp2 atoms, and double bonds of carbon with what stands at them, at most 0.25 angstrom
    off a plane. `hydrogens` is a check of our own: the first three with a hydrogen on either side.
    """
    from rdkit import Chem

    x = made.GetConformer().GetPositions()
    gap = x[:, None] - x
    far = np.sqrt((gap * gap).sum(-1))
    lower, upper = _bounds(made)
    steps = np.triu(Chem.GetDistanceMatrix(made), 1)
    light = np.array([atom.GetAtomicNum() == 1 for atom in made.GetAtoms()])
    heavy = ~(light[:, None] | light)
    off = (far < (1 - OFF) * lower) | (far > (1 + OFF) * upper)
    wrong = {
        "bond lengths": off & (steps == 1),
        "angles": off & (steps == 2),
        "clashes": (far < (1 - CLASH) * lower) & (steps > 2),
    }
    rings, doubles = (
        [list(atoms) for pattern in several for atoms in made.GetSubstructMatches(pattern)]
        for several in _flat()
    )
    return {
        **{name: not (pairs & heavy).any() for name, pairs in wrong.items()},
        "flat rings": all(_off_plane(x[ring]) <= FLAT for ring in rings),
        "flat double bonds": all(_off_plane(x[bond]) <= FLAT for bond in doubles),
        "hydrogens": not any((pairs & ~heavy).any() for pairs in wrong.values()),
    }


def _bounds(made: Any) -> tuple[Any, Any]:
    """(n, n) least and largest distances of two atoms i < j, by distance geometry.

    Which of the ends of a carboxylate, a nitro group and so on has the double bond says nothing
    about places: bonds to the ends of all such groups between equal elements share their bounds.
    """
    from rdkit.Chem import rdDistGeom

    with quiet():
        bounds = rdDistGeom.GetMoleculeBoundsMatrix(made, scaleVDW=True)
    upper, lower = np.triu(bounds, 1), np.tril(bounds, -1).T
    alike = defaultdict(list)
    for pair in made.GetSubstructMatches(_terminal()):
        elements = sorted(made.GetAtomWithIdx(i).GetSymbol() for i in pair)
        alike[tuple(elements)].append(sorted(pair))
    for pairs in alike.values():
        i, j = np.array(pairs).T
        lower[i, j], upper[i, j] = lower[i, j].min(), upper[i, j].max()
    return lower, upper


@cache
def _terminal() -> Any:
    """Bonds to the ends, without further neighbours, of a group with a double and a single one."""
    from rdkit import Chem

    return Chem.MolFromSmarts("[O,N;D1;$(*-*=[O,N;D1]),$(*=*-[O,N;D1])]~*")


@cache
def _flat() -> tuple[list[Any], list[Any]]:
    """What is flat: aromatic rings of five and of six sp2 atoms, and carbons with a double bond."""
    from rdkit import Chem

    atoms = [[f"[ar{n}^2]"] * n for n in (5, 6)]
    rings = ["1".join((atom, "".join(more))) + "1" for atom, *more in atoms]
    words = rings, ["[C;X3;^2](*)(*)=[C;X3;^2](*)*"]
    first, second = ([Chem.MolFromSmarts(word) for word in several] for several in words)
    return first, second


def _off_plane(points: Any) -> float:
    """The largest distance of a point from the plane that fits best."""
    centred = points - points.mean(0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][-1]
    return float(np.abs(centred @ normal).max())


def symmetric_rmsd(a: Molecule, b: Molecule) -> float:
    """Root mean square distance of the heavy atoms, best aligned, over all symmetries, in angstrom.

    Raises:
        InputError: if the molecules have other bonds than each other, no places, or RDKit does not
            accept them.
    """
    from rdkit.Chem import rdMolAlign

    made = [sanitised(molecule) for molecule in (a, b)]
    if any(mol is None or not mol.GetNumConformers() for mol in made):
        raise InputError("a distance of conformers needs two molecules with places that are valid")
    first, second = map(without_hydrogens, made)
    with quiet():
        try:
            return float(rdMolAlign.GetBestRMS(first, second))
        except (ValueError, RuntimeError):
            raise InputError(
                f"{a.source} and {b.source} are no conformers of one molecule"
            ) from None
