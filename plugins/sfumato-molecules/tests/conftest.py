"""Molecules for the tests, made by RDKit once."""

from __future__ import annotations

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from sfumato_molecules import chem

SMILES = {
    "ethanol": "CCO", "benzene": "c1ccccc1", "pyrrole": "c1cc[nH]c1", "glycine": "[NH3+]CC(=O)[O-]",
    "nitromethane": "C[N+](=O)[O-]", "propyne": "CC#C", "sulfone": "CS(=O)(=O)C",
    "thiophene": "c1ccsc1", "azide": "CN=[N+]=[N-]", "phosphate": "COP(=O)(O)O",
    "allene": "C=C=C", "aspirin": "CC(=O)Oc1ccccc1C(=O)O", "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "alanine": "C[C@H](N)C(=O)O", "chlorobenzene": "Clc1ccccc1", "fluoroform": "FC(F)F",
}  # fmt: skip


def placed(smiles: str, name: str = "", seed: int = 7):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=seed) == 0
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    return chem.from_rdkit(mol, properties={"name": name} if name else {}, source=name or smiles)


@pytest.fixture(scope="session")
def place():
    """Makes a molecule in space of a SMILES."""
    return placed


@pytest.fixture(scope="session")
def molecules():
    """Sixteen small molecules in space, by name."""
    return {name: placed(smiles, name) for name, smiles in SMILES.items()}
