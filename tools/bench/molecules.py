"""Molecules written with their bonds, and bonds told by distances: `tools/bench/molecules.py`.

Molecules of the Chemical Component Dictionary, at most twenty heavy atoms, taken evenly.

- Time: as a state of places and classes, which is what sampling leaves, their bonds are told and an
  SD file is written. Thread CPU time, the least of some repetitions.
- Bonds: the share that has the same canonical SMILES, stereo centres apart, as with the bonds of
  the dictionary, where the charges of atoms are known and where they are not. The table of lengths
  is measured on the same dictionary.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from sfumato import Batch, Fields
from sfumato_data import gather
from sfumato_molecules import bonds, chem
from sfumato_molecules.data import Molecules, molecules_of_file
from sfumato_molecules.domain import domain
from sfumato_molecules.files import ORGANIC
from sfumato_molecules.molecule import Molecule


def timed(data: Molecules, repetitions: int) -> None:
    """Measure the time, and print a line."""
    x = gather(data).x
    batch = Batch(Fields({name: x[name] for name in ("positions", "atoms")}))
    taken = []
    with tempfile.TemporaryDirectory() as room:
        for i in range(repetitions):
            began = time.thread_time()
            domain.write(batch, Path(room, f"{i}.sdf"), data.about)
            taken.append(time.thread_time() - began)
    atoms = len(x["atoms"].data)
    print(f"{len(data)} molecules, {atoms} atoms: {min(taken):.2f} s of {repetitions} repetitions")


def told(data: Molecules) -> None:
    """Measure how many have their bonds told, and print a line for each case."""
    known = [_flat(molecule) for molecule in data.molecules]
    for charged in (True, False):
        bare = data.molecules
        if not charged:
            bare = [replace(m, charges=0 * m.charges) for m in bare]
        found = [_flat(bonds.inferred(m, charged=charged)) for m in bare]
        same = sum(a == b for a, b in zip(found, known, strict=True)) / len(known)
        print(f"bonds of {same:.2%} are told, charges {'known' if charged else 'not known'}")


def _flat(molecule: Molecule) -> str | None:
    return chem.smiles(replace(molecule, positions=None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=1000, help="molecules")
    parser.add_argument("--repetitions", type=int, default=3)
    words = parser.parse_args()
    torch.set_num_threads(1)
    reading = {"elements": ORGANIC, "heavy": 20, "most": words.n}
    every = molecules_of_file(domain.demo_path(), **reading)
    timed(every, words.repetitions)
    told(every)
