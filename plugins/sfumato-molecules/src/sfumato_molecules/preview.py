"""Pictures of molecules: a grid of drawings, and scenes in space for a report."""

from __future__ import annotations

__all__ = ["preview", "scenes"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfumato import Batch
from sfumato_eval.report import Scene
from sfumato_train.files import write_bytes

from . import chem
from .molecule import SYMBOLS, Molecule, symbols
from .state import molecules_of

MOST, ACROSS, SIDE = 24, 6, 200
"""Molecules of a picture, and in each of its rows; pixels of each."""

TURNED = 6
"""Molecules that can be turned."""

COLOURS = {
    "H": "#d8d8d8", "B": "#e8a090", "C": "#555555", "N": "#3050f8", "O": "#e02020", "F": "#70c040",
    "Si": "#d0b090", "P": "#f08000", "S": "#d8b800", "Cl": "#1fa01f", "Se": "#e09000",
    "Br": "#a62929", "I": "#940094",
}  # fmt: skip
"""Colours of elements, as Corey, Pauling and Koltun's models have them."""


def preview(batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
    """Write a PNG file with drawings of up to 24 molecules.

    Below each stands its number of atoms, and `not valid` where RDKit does not accept it or it has
    radicals; such a molecule is drawn with the bonds that it has.
    """
    from rdkit.Chem.Draw import MolsToGridImage

    grid: Any = MolsToGridImage
    shown = molecules_of(batch.x, about)[:MOST]
    drawn = [_flat(molecule, bool(about["hydrogens"])) for molecule in shown]
    with chem.quiet():
        picture = grid(
            [mol for mol, _ in drawn],
            molsPerRow=min(ACROSS, max(len(drawn), 1)),
            subImgSize=(SIDE, SIDE),
            legends=[text for _, text in drawn],
            returnPNG=True,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, picture if isinstance(picture, bytes) else picture.data)
    return path


def _flat(molecule: Molecule, explicit: bool) -> tuple[Any, str]:
    """A molecule laid out in the plane, without the hydrogens that can be left out; its legend."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    made = chem.valid(molecule, explicit=explicit)
    legend = f"{len(molecule)} atoms"
    with chem.quiet():
        if made is None:
            legend = f"{legend}, not valid"
            made = chem.to_rdkit(molecule, explicit=True)
            made.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(made)
        else:
            made = Chem.RemoveHs(made)
        made.RemoveAllConformers()
        rdDepictor.Compute2DCoords(made)
    return made, legend


def scenes(batch: Batch, about: Mapping[str, Any]) -> list[Scene]:
    """Up to six molecules in space; none where the model is of graphs."""
    if about["dimensions"] != 3:
        return []
    made = molecules_of(batch.x, about)[:TURNED]
    return [scene(m, explicit=bool(about["hydrogens"])) for m in made if len(m)]


def scene(molecule: Molecule, *, explicit: bool) -> Scene:
    """A molecule as balls and sticks: radii are 0.3 of those of van der Waals."""
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    radii = [0.3 * float(table.GetRvdw(SYMBOLS[e])) for e in molecule.elements.tolist()]
    assert molecule.positions is not None
    places = np.nan_to_num(molecule.positions.astype(np.float64), posinf=0.0, neginf=0.0)
    made = chem.valid(molecule, explicit=explicit)
    return Scene(
        points=places.round(3).tolist(),
        radii=radii,
        colours=[COLOURS.get(symbol, "#c050c0") for symbol in symbols(molecule)],
        links=[(i, j, order) for i, j, order in molecule.bonds.tolist()],
        caption=chem.bare_smiles(made) if made else f"{len(molecule)} atoms, not valid",
    )
