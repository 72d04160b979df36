"""Bonds from places: those that are known come back, whatever the order and attitude of atoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfumato import InputError
from sfumato_molecules import bonds, chem, valences
from sfumato_molecules.molecule import Molecule, checked


def _bare(molecule, **changes):
    return replace(molecule, bonds=molecule.bonds[:0], bonds_from="", **changes)


def test_bonds_come_back_with_known_charges(molecules):
    for name, molecule in molecules.items():
        found = bonds.inferred(_bare(molecule))
        assert found.bonds_from == "distances"
        assert (found.bonds[:, :2] == molecule.bonds[:, :2]).all(), name
        assert chem.key(found) == chem.key(molecule), name
        assert valences.stable(found, charges=True).all(), name


@pytest.mark.parametrize("name", ["glycine", "nitromethane", "aspirin", "sulfone", "thiophene"])
def test_charges_are_amended_where_none_are_known(molecules, name):
    molecule = molecules[name]
    found = bonds.inferred(_bare(molecule, charges=0 * molecule.charges), charged=False)
    assert chem.key(found) == chem.key(molecule)
    assert found.charges.sum() == molecule.charges.sum() == 0


def test_order_and_attitude_play_no_part(molecules):
    rng = np.random.default_rng(0)
    for name in ("aspirin", "caffeine", "azide"):
        molecule = molecules[name]
        order = rng.permutation(len(molecule))
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        moved = _bare(
            molecule,
            elements=molecule.elements[order],
            charges=molecule.charges[order],
            positions=(molecule.positions[order] @ turn + 5).astype(np.float32),
        )
        assert chem.key(bonds.inferred(moved)) == chem.key(molecule)


def test_a_second_bond_needs_a_short_distance():
    """Two CH3 radicals' worth of carbon at 1.54 A stay single and unstable; at 1.33 A not."""
    for distance, order in ((1.55, 1), (1.33, 2)):
        ethene = checked([6, 6], [[0, 0, 0], [0, 0, distance]])
        found = bonds.inferred(ethene)
        assert found.bonds.tolist() == [[0, 1, order]]
    assert not valences.stable(found, charges=True).any()


def test_rdkit_tells_bonds_too_and_says_when_it_cannot(molecules):
    found = bonds.inferred(_bare(molecules["aspirin"]), "rdkit")
    assert found.bonds_from == "rdkit" and chem.key(found) == chem.key(molecules["aspirin"])
    with pytest.raises(InputError, match="RDKit tells no bonds"):
        bonds.inferred(checked([6, 6, 1], [[0, 0, 0], [0, 0, 1.5], [0, 0, 2.6]]), "rdkit")
    with pytest.raises(InputError, match="without coordinates"):
        bonds.inferred(checked([6, 6]))


def test_fragments_and_parts(molecules):
    a, b = molecules["ethanol"], molecules["propyne"]
    both = Molecule(
        np.concatenate([a.elements, b.elements]),
        np.concatenate([a.positions, b.positions + 50]),
        np.concatenate([a.charges, b.charges]),
        np.concatenate([a.bonds, b.bonds + np.array([len(a), len(a), 0], np.int16)]),
    )
    assert bonds.fragments(both).tolist() == [0] * len(a) + [1] * len(b)
    assert chem.key(bonds.part(both, 1)) == chem.key(b)
    ring = checked([6] * 5, bonds=[(0, 4, 1), (3, 4, 1), (1, 2, 1), (0, 3, 1)])
    assert bonds.fragments(ring).tolist() == [0, 1, 1, 0, 0]


def test_valences_by_charge_and_neutral(molecules):
    glycine = molecules["glycine"]
    assert valences.stable(glycine, charges=True).all()
    wrong = np.flatnonzero(~valences.stable(glycine, charges=False)).tolist()
    assert wrong == np.flatnonzero(glycine.charges).tolist()
    assert valences.used(molecules["propyne"]).tolist() == [4, 4, 4, 1, 1, 1, 1]
    assert valences.accepted(7, 1) == (4,) and valences.accepted(92, 0) == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"elements": []}, "0 atoms; accepted are 1 to 1,000"),
        ({"elements": [6] * 1001}, "1001 atoms"),
        ({"elements": [6, 0]}, "no element of number 0"),
        ({"elements": [6], "positions": [[0, 0, np.inf]]}, "atom 1 are missing or huge"),
        ({"elements": [6, 6], "positions": [[0, 0, 0]]}, r"shape \(1, 3\) in place of \(2, 3\)"),
        ({"elements": [6, 6], "bonds": [(1, 1, 1)]}, "atom 2 has a bond with itself"),
        ({"elements": [6, 6], "bonds": [(0, 1, 1), (1, 0, 2)]}, "two bonds between the same"),
        ({"elements": [6, 6], "bonds": [(0, 2, 1)]}, "names an atom that is not one of 2"),
        ({"elements": [6, 6], "bonds": [(0, 1, 4)]}, "another order than 1, 2 or 3"),
        ({"elements": [6], "charges": [10]}, "from -9 to 9"),
    ],
    ids=[
        "none",
        "many",
        "element",
        "infinite",
        "places",
        "loop",
        "twice",
        "beyond",
        "order",
        "charge",
    ],
)
def test_molecules_that_cannot_be_are_told(values, said):
    with pytest.raises(InputError, match=said):
        checked(**values)
