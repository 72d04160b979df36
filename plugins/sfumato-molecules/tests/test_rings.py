"""Aromatic bonds: perceived as RDKit does, and given back as single and double ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfumato_molecules import chem, formats
from sfumato_molecules.domain import domain
from sfumato_molecules.molecule import checked
from sfumato_molecules.rings import AROMATIC, kekulised, perceived
from sfumato_molecules.state import graph_of, molecules_of

RINGS = {
    "benzene": ("c1ccccc1", 6), "pyridine": ("c1ccncc1", 6), "pyrrole": ("c1cc[nH]c1", 5),
    "imidazole": ("c1cnc[nH]1", 5), "furan": ("c1ccoc1", 5), "thiazole": ("c1cscn1", 5),
    "indole": ("c1ccc2[nH]ccc2c1", 10), "pyridone": ("O=c1cccc[nH]1", 6),
    "caffeine": ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", 10), "naphthalene": ("c1ccc2ccccc2c1", 11),
    "indolizine": ("c1ccn2cccc2c1", 10), "biphenyl": ("c1ccccc1-c1ccccc1", 12),
    "nitrobenzene": ("O=[N+]([O-])c1ccccc1", 6), "pyridinium": ("C[n+]1ccccc1", 6),
    "N-oxide": ("[O-][n+]1ccccc1", 6), "tetrazole": ("c1nnn[nH]1", 5),
    "azulene": ("c1ccc2cccc2cc1", 10), "cyclopentadienyl": ("c1cc[cH-]c1", 5),
    "tropylium": ("c1ccc[cH+]cc1", 7), "styrene": ("C=Cc1ccccc1", 6),
    "cyclohexadiene": ("C1=CCCC=C1", 0), "ethyne": ("C#C", 0),
}  # fmt: skip


def read(word):
    return formats.FORMATS[".smi"].parse(formats.Record(1, word, kind="smiles"), word, "drop")


@pytest.mark.parametrize("name", RINGS)
def test_rings_are_perceived_and_given_back(name):
    word, count = RINGS[name]
    molecule = read(word)
    kinds = perceived(molecule)
    assert int((kinds == AROMATIC).sum()) == count
    rows = molecule.bonds.copy()
    rows[:, 2] = kinds
    back = replace(molecule, bonds=kekulised(molecule.elements, molecule.charges, rows))
    assert chem.key(back) == chem.key(molecule) and chem.valid(back) is not None
    assert AROMATIC not in back.bonds[:, 2]


def test_real_molecules_come_back_with_all_their_hydrogens():
    """Of the demo, whose hydrogens are atoms: the bonds are those of a Kekule structure of it."""
    data = domain.demo()
    some = [m for m in data.molecules if (perceived(m) == AROMATIC).any()]
    assert len(some) > 150
    for molecule in some:
        rows = molecule.bonds.copy()
        rows[:, 2] = perceived(molecule)
        back = replace(molecule, bonds=kekulised(molecule.elements, molecule.charges, rows))
        assert chem.smiles(back) == chem.smiles(molecule)


PARTS = {
    "five carbons": ("C1=CCC=C1", [], [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]),
    "a chain": ("C=CC=C", [], [(0, 1), (1, 2), (2, 3)]),
    "a ring but for one bond": ("c1ccccc1", [(0, 5)], [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_rings_get_as_many_double_bonds_as_fit(name):
    word, single, ring = PARTS[name]
    rows = [(*ends, AROMATIC) for ends in ring] + [(*ends, 1) for ends in single]
    size = 1 + max(max(ends) for ends in ring)
    carbons = np.full(size, 6)
    bonds = kekulised(carbons, np.zeros(size, int), np.array(rows))
    assert chem.smiles(checked(carbons, bonds=bonds)) == chem.smiles(read(word))


def _about():
    return {"classes": [["C", 0], ["N", 0], ["O", 0]]}


def test_graphs_have_the_class_and_molecules_have_not():
    words = ["c1ccncc1", "CC=O"]
    about = _about()
    x = graph_of([read(word) for word in words], about)
    assert int((x["edges"].data == AROMATIC).sum()) == 6
    made = molecules_of(x, about)
    assert [chem.smiles(m) for m in made] == ["c1ccncc1", "CC=O"]
