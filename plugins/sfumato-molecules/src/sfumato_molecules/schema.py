"""The facts of a data set of molecules: what a model is built from, and what its user asks."""

from __future__ import annotations

__all__ = ["schema", "statistics", "tables"]

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sfumato import InputError

from .molecule import SYMBOLS, Molecule, symbols
from .state import named

MOST = 64
"""Classes of atoms of a data set."""


def schema(
    molecules: Sequence[Molecule], dimensions: int | None = None, conditions: Sequence[str] = ()
) -> dict[str, Any]:
    """The facts of data that a model keeps.

    - `dimensions`: 3, molecules in space, or 2, graphs of bonds.
    - `classes`: elements with formal charges that occur, [["C", 0], ["N", 1], ...].
    - `hydrogens`: whether they are atoms, or left to the valences.
    - `largest`: atoms of the largest molecule; `sizes`: how many there are of each size.
    - `conditions`: for each property that models are told its `mean`, mean absolute deviation
      `mad`, `low` and `high`.
    - `bonds`: how many molecules have bonds from each source.

    Raises:
        InputError: for no molecules, more than 64 classes, places or bonds that are missing, or
            a property that is missing or no number.
    """
    if not molecules:
        raise InputError("there are no molecules")
    placed = [m.positions is not None for m in molecules]
    dimensions = (3 if all(placed) else 2) if dimensions is None else dimensions
    if dimensions not in (2, 3):
        raise InputError(f"molecules are in dimensions 2 or 3, not {dimensions}")
    if dimensions == 3 and not all(placed):
        raise InputError(
            f"{molecules[placed.index(False)].source} has no coordinates, which molecules in space "
            "need; graphs of bonds (molecules/moses, dimensions=2) do without"
        )
    if dimensions == 2 and (bare := [m for m in molecules if len(m) > 1 and not len(m.bonds)]):
        raise InputError(f"{bare[0].source} has no bonds, which a model of graphs needs")
    kinds = Counter(pair for m in molecules for pair in _pairs(m))
    if len(kinds) > MOST:
        raise InputError(f"{len(kinds)} elements with charges; a model takes at most {MOST}")
    sizes = Counter(map(len, molecules))
    return {
        "dimensions": dimensions,
        "classes": [[SYMBOLS[number], charge] for number, charge in sorted(kinds)],
        "hydrogens": bool((1, 0) in kinds),
        "largest": max(sizes),
        "sizes": {str(size): sizes[size] for size in sorted(sizes)},
        "conditions": {name: _range(molecules, name) for name in conditions},
        "bonds": dict(Counter(m.bonds_from or "none" for m in molecules)),
    }


def _pairs(molecule: Molecule) -> Iterable[tuple[int, int]]:
    return zip(molecule.elements.tolist(), molecule.charges.tolist(), strict=True)


def _range(molecules: Sequence[Molecule], name: str) -> dict[str, float]:
    for molecule in molecules:
        if not isinstance(value := molecule.properties.get(name), float) or not np.isfinite(value):
            there = sorted(k for k, v in molecule.properties.items() if isinstance(v, float))
            raise InputError(
                f"{molecule.source} has no number for {name!r}; it has {', '.join(there) or 'none'}"
            )
    values = np.array([float(m.properties[name]) for m in molecules])
    return {
        "mean": float(values.mean()),
        "mad": float(np.abs(values - values.mean()).mean()),
        "low": float(values.min()),
        "high": float(values.max()),
    }


def statistics(molecules: Sequence[Molecule]) -> dict[str, Any]:
    """What users of existing code ask for: elements, charges, sizes, lengths of bonds, properties.

    Lengths are in angstrom, by the two elements and the order, such as `C-N 2`: how many, mean,
    standard deviation, least, most.
    """
    lengths: dict[str, list[float]] = defaultdict(list)
    orders: Counter[int] = Counter()
    for molecule in molecules:
        orders.update(molecule.bonds[:, 2].tolist())
        if molecule.positions is None:
            continue
        ends = molecule.positions[molecule.bonds[:, :2]].astype(np.float64)
        kinds = np.sort(molecule.elements[molecule.bonds[:, :2]], axis=1).tolist()
        far = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).tolist()
        for (a, b), order, length in zip(kinds, molecule.bonds[:, 2].tolist(), far, strict=True):
            lengths[f"{SYMBOLS[a]}-{SYMBOLS[b]} {order}"].append(length)
    sizes = Counter(map(len, molecules))
    heavy = Counter(int((m.elements != 1).sum()) for m in molecules)
    numbers = sorted(
        {k for m in molecules for k, v in m.properties.items() if isinstance(v, float)}
    )
    return {
        "molecules": len(molecules),
        "with coordinates": sum(m.positions is not None for m in molecules),
        "bonds from": dict(Counter(m.bonds_from or "none" for m in molecules)),
        "elements": dict(Counter(s for m in molecules for s in symbols(m)).most_common()),
        "charged": dict(
            Counter(
                named(SYMBOLS[e], c) for m in molecules for e, c in _pairs(m) if c
            ).most_common()
        ),
        "atoms": {str(k): sizes[k] for k in sorted(sizes)},
        "heavy atoms": {str(k): heavy[k] for k in sorted(heavy)},
        "bond orders": {str(k): orders[k] for k in sorted(orders)},
        "bond lengths": {k: _summary(v) for k, v in sorted(lengths.items())},
        "properties": {
            k: _summary([v for m in molecules if isinstance(v := m.properties.get(k), float)])
            for k in numbers
        },
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    found = np.array(values)
    return {
        "n": len(found), "mean": float(found.mean()), "sd": float(found.std()),
        "min": float(found.min()), "max": float(found.max()),
    }  # fmt: skip


def tables(facts: Mapping[str, Any]) -> str:
    """Statistics as text."""
    lines = [f"{facts['molecules']:,} molecules, {facts['with coordinates']:,} with coordinates"]
    for name in ("bonds from", "elements", "charged", "atoms", "heavy atoms", "bond orders"):
        told = ", ".join(f"{key} {count:,}" for key, count in facts[name].items())
        lines.append(f"{name}: {told or 'none'}")
    for name in ("bond lengths", "properties"):
        if not facts[name]:
            continue
        width = max(map(len, facts[name]))
        head = f"{'':{width}} {'n':>9} {'mean':>10} {'sd':>10} {'min':>10} {'max':>10}"
        lines += ["", name, head]
        for key, row in facts[name].items():
            cells = " ".join(f"{row[k]:10.4g}" for k in ("mean", "sd", "min", "max"))
            lines.append(f"{key:{width}} {row['n']:9,} {cells}")
    return "\n".join(lines)
