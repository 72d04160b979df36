"""Measure the lengths of bonds in the Chemical Component Dictionary, for sfumato-molecules.

    .venv/bin/python tools/bond_lengths.py

writes plugins/sfumato-molecules/src/sfumato_molecules/bond_lengths.json: of each pair of elements
and each order the median and the length that one bond in 2,000 exceeds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from sfumato_molecules import components, files
from sfumato_molecules.molecule import SYMBOLS

TARGET = Path("plugins/sfumato-molecules/src/sfumato_molecules/bond_lengths.json")
ELEMENTS = (*files.ORGANIC, "B", "Si", "Se", "Br", "I", "As")
FEWEST = 20
"""Bonds of a kind that are measured, or it is left out."""


def main() -> None:
    """Measure, and write the table."""
    how = files.Reading(elements=ELEMENTS, heavy=40)
    measured: dict[tuple[str, int], list[float]] = defaultdict(list)
    for molecule in files.read(components.demo_path(), how).molecules:
        assert molecule.positions is not None
        ends = molecule.positions[molecule.bonds[:, :2]].astype(np.float64)
        distances = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        kinds = np.sort(molecule.elements[molecule.bonds[:, :2]], axis=1)
        for (a, b), order, d in zip(
            kinds.tolist(), molecule.bonds[:, 2].tolist(), distances.tolist(), strict=True
        ):
            measured[f"{SYMBOLS[a]}-{SYMBOLS[b]}", order].append(d)
    table: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for (pair, order), values in sorted(measured.items()):
        if len(values) >= FEWEST:
            quantiles = np.quantile(values, [0.5, 0.9995]).round(4)
            table[pair][str(order)] = quantiles.tolist()
    source = (
        f"wwPDB Chemical Component Dictionary of biotite {version('biotite')}, ideal geometries"
    )
    text = json.dumps({"source": source, "lengths": table}, indent=1)
    TARGET.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
