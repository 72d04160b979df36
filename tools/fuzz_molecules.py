"""Damaged and random files for every reader of molecules: `python tools/fuzz_molecules.py -h`.

What is an error, and how a case is repeated, is said by `fuzz_images`, whose damages these are.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import tempfile
from pathlib import Path

import fuzz_images as fuzz
import numpy as np
from fuzz_images import Case
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from sfumato_molecules import chem, components, files, writing
from sfumato_molecules.files import Reading

fuzz.MEMORY = 1 << 30

WORDS = ("CCO", "C[N+](=O)[O-]", "Clc1ccccc1", "CC(=O)[O-]", "OP(=O)(O)OC")


def cases() -> list[Case]:
    """One good file of each kind."""
    made = [
        chem.from_rdkit(_placed(word), properties={"name": word, "x": 1.5}, source=word)
        for word in WORDS
    ]
    found = []
    with tempfile.TemporaryDirectory() as room:
        for suffix in writing.WRITTEN:
            (path,) = writing.write(made, Path(room, f"a{suffix}"))
            found.append(Case(path.name, path.read_bytes(), read))
    blocks = []
    for molecule in made:
        mol = chem.to_rdkit(molecule)
        mol.UpdatePropertyCache(strict=False)
        blocks.append(Chem.MolToV3KMolBlock(mol) + "$$$$\n")
    v3000 = "".join(blocks).encode()
    found += [Case("b.sdf", v3000, read), Case("b.sdf.gz", gzip.compress(v3000), read)]
    return [*found, Case("a.bcif", _binary(), read)]


def _binary() -> bytes:
    """A component in BinaryCIF."""
    from biotite.structure.io import pdbx

    text = components.dump_components([chem.from_rdkit(_placed("CCO"))])
    file = pdbx.CIFFile.read(io.StringIO(text))
    binary = pdbx.BinaryCIFFile()
    for name, block in file.items():
        binary[name] = pdbx.BinaryCIFBlock(
            {
                key: pdbx.BinaryCIFCategory({c: np.array(category[c].as_array()) for c in category})
                for key, category in block.items()
            }
        )
    out = io.BytesIO()
    binary.write(out)
    return out.getvalue()


def _placed(word: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(word))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    return mol


def read(path: Path, rng: random.Random) -> None:
    """The molecules of a file, and what a data set makes of them."""
    how = rng.choice(
        (
            Reading(),
            Reading(fragments="keep", valences=False),
            Reading(hydrogens="add"),
            Reading(hydrogens="drop", infer="none"),
            Reading(most=2, fragments="largest", heavy=9),
        )
    )
    found = files.read(path, how)
    for molecule in found.molecules:
        assert len(molecule.elements) == len(molecule.charges) <= 1000
        assert molecule.positions is None or np.isfinite(molecule.positions).all()
        assert len(chem.key(molecule)) == 14 or len(chem.key(molecule)) == 28
    for record in found.rejected:
        assert len(record.reason.splitlines()) == 1, record


fuzz.cases = cases

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2_000, help="how many files are damaged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    words = parser.parse_args()
    print(fuzz.run(words.first, words.cases, words.seed))
