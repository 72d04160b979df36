"""Whether our checks of geometry say what PoseBusters says, molecule by molecule.

Molecules of the Chemical Component Dictionary as they are, shaken by normals of several sizes,
squeezed, spread, and shaken without their hydrogens, go through `measures.sane` and through the
package itself (Buttenschoen et al. 2023, arXiv:2308.05777), as its configuration `mol` says. It
fails if any check says otherwise of any molecule.

Three differences are meant. Flatness is told by the largest distance from a plane on either side;
version 0.6.5 of the package takes the largest on one side, whichever that is, which is put right
here. `hydrogens` is ours alone. And three of its checks are not ours: rings that must not be flat
and InChI, of which the shares that pass are told, and the ratio of energies, in whose place
`unstrained` stands.

    .venv/bin/pip install posebusters pandas
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/sanity.py
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import posebusters
import torch
import yaml
from posebusters.modules import flatness

from sfumato import random
from sfumato_molecules import chem, measures
from sfumato_molecules.data import molecules_of_file
from sfumato_molecules.domain import domain
from sfumato_molecules.files import ORGANIC
from sfumato_molecules.molecule import Molecule

OURS = {
    "bond_lengths": "bond lengths",
    "bond_angles": "angles",
    "internal_steric_clash": "clashes",
    "aromatic_ring_flatness": "flat rings",
    "double_bond_flatness": "flat double bonds",
}
"""Columns of the package, and what they are called here."""

THEIRS = ("non-aromatic_ring_non-flatness", "inchi_convertible")
SHAKEN = (0.08, 0.15, 0.3, 0.5)
"""Standard deviations, angstrom."""


def variants(molecule: Molecule, seed: int, number: int) -> Iterator[tuple[str, Molecule, bool]]:
    """A molecule under several treatments, and whether its hydrogens stay."""
    yield "as it is", molecule, True
    assert molecule.positions is not None
    generator = random.derive(seed, "sanity", number)
    for size in SHAKEN:
        noise = size * random.normal(torch.empty(molecule.positions.shape), generator).numpy()
        shaken = replace(molecule, positions=molecule.positions + noise)
        yield f"shaken by {size:g}", shaken, True
        if size == 0.15:
            yield "the same without hydrogens", shaken, False
    for name, factor in (("squeezed", 0.7), ("spread", 1.3)):
        yield name, replace(molecule, positions=molecule.positions * np.float32(factor)), True


def busters() -> Any:
    """The package, both sides of planes seen, without the module that draws conformers."""
    signed = flatness._get_distances_to_plane
    flatness._get_distances_to_plane = lambda places: np.abs(signed(places))
    path = Path(posebusters.__file__).parent / "config/mol.yml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["modules"] = [m for m in settings["modules"] if m["function"] != "energy_ratio"]
    return posebusters.PoseBusters(settings)


def main() -> None:
    """Compare, print a table, and fail where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=50, help="molecules, each in eight treatments")
    parser.add_argument("--heavy", type=int, default=30, help="heavy atoms of the largest")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    reading = {"elements": ORGANIC, "heavy": words.heavy, "most": words.n}
    every = molecules_of_file(domain.demo_path(), **reading).molecules
    made: list[Any] = []
    names = []
    for number, molecule in enumerate(every):
        for name, one, whole in variants(molecule, words.seed, number):
            mol = chem.sanitised(one)
            if mol is not None:
                made.append(mol if whole else measures.without_hydrogens(mol))
                names.append(name)
    table = busters().bust(made)
    found = [measures.sane(mol) for mol in made]
    passed: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    for theirs, ours in OURS.items():
        for i, (told, own) in enumerate(zip(table[theirs].tolist(), found, strict=True)):
            passed[ours, names[i]] += own[ours]
            if bool(told) != own[ours]:
                wrong.append(f"{ours}, molecule {i} {names[i]}: {told} there, {own[ours]} here")
    counts = Counter(names)
    for ours in OURS.values():
        shares = (f"{name} {passed[ours, name] / counts[name]:.2f}" for name in counts)
        print(f"{ours}: passed by {', '.join(shares)}")
    real = np.array([name == "as it is" for name in names])
    for name in THEIRS:
        share = table[name].to_numpy()[real].mean()
        print(f"{name} (theirs alone): passed by {share:.3f} as they are")
    light = np.mean([one["hydrogens"] for one, is_real in zip(found, real, strict=True) if is_real])
    print(f"hydrogens (ours alone): passed by {light:.3f} as they are")
    print(f"{len(wrong)} of {len(OURS)} x {len(made)} answers differ")
    if wrong:
        print("\n".join(wrong[:20]))
        raise SystemExit(1)


if __name__ == "__main__":
    main()
