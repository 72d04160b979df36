"""Metrics against values worked out by hand, and what they must notice."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from sfumato import Batch, Fields, InputError, Ragged
from sfumato_data import concatenate
from sfumato_molecules import measures, metrics, relaxing, spatial
from sfumato_molecules.data import Molecules
from sfumato_molecules.looking import Looked, Looking
from sfumato_molecules.molecule import checked
from sfumato_molecules.schema import schema


def _data(molecules):
    """Molecules whose bonds are told by the distances, as those of samples without bonds are."""
    return Molecules(molecules, {**schema(molecules), "bonds": {"none": len(molecules)}})


@pytest.fixture(scope="module")
def whole(molecules):
    return _data(list(molecules.values()))


def _scores(train, samples, held=None):
    b = samples.batch(range(len(samples)))
    held = held or samples
    reference = held.batch(range(len(held)))
    return {m.name: m.between(m.summary(b), m.summary(reference)) for m in _apart(train)}


def _apart(train):
    """All metrics but that which needs held-out data that was not trained on."""
    return [m for m in metrics.metrics(train) if m.name != "memorisation"]


def test_real_molecules_score_full_marks(whole):
    scores = _scores(whole, whole)
    for name in ("validity", "atom stability", "molecule stability", "sane geometry"):
        assert scores[name].value == 1, name
    for name in ("QED", "SA", "logP", "bonds W1", "angles W1", "torsions W1"):
        assert scores[name].value == 0, name
    assert scores["valid, unique and novel"].value == 0
    assert scores["valid, unique and novel"].parts == {"valid": 1, "unique": 1, "novel": 0}
    charged = sum(bool(m.charges.any()) for m in whole.molecules) / len(whole)
    assert scores["molecule stability"].parts["neutral"] == 1 - charged


def test_validity_in_both_conventions(molecules, whole):
    """A lone pair of molecules is whole but not connected; one without a hydrogen is a radical."""
    a = molecules["ethanol"]
    apart = replace(
        a,
        elements=np.concatenate([a.elements, a.elements]),
        positions=np.concatenate([a.positions, a.positions + 30]),
        charges=np.concatenate([a.charges, a.charges]),
        bonds=a.bonds[:0],
    )
    radical = replace(a, elements=a.elements[:-1], positions=a.positions[:-1],
                      charges=a.charges[:-1], bonds=a.bonds[:0])  # fmt: skip
    crowded = checked([6, 1, 1, 1, 1, 1], np.concatenate([np.zeros((1, 3)), np.vstack(
        [np.eye(3), -np.eye(3)])[:5]]))  # fmt: skip
    samples = Molecules([a, apart, radical, crowded], whole.about)
    score = _scores(whole, samples, whole)["validity"]
    assert score.value == 0.5
    assert score.parts == {"connected": 0.75, "whole and connected": 0.25, "largest fragment": 0.75}
    stable = _scores(whole, samples, whole)
    atoms = 9 + 18 + 8 + 6
    assert stable["atom stability"].value == pytest.approx(1 - 2 / atoms)  # O and C lack one, has 5
    assert stable["molecule stability"].value == 0.5


def test_unique_and_novel(molecules):
    names = ["ethanol", "ethanol", "benzene", "propyne"]
    samples = [molecules[n] for n in names]
    about = _data(list(molecules.values())).about
    train = Molecules([molecules["benzene"]], about)
    score = _scores(train, Molecules(samples, about))["valid, unique and novel"]
    assert score.value == 0.5
    assert score.parts == {"valid": 1, "unique": 0.75, "novel": pytest.approx(2 / 3)}


def test_wasserstein_of_lengths_and_properties_by_hand(molecules):
    """All bonds of methane-like fluoroform stretched by 1 %: the mean shift of its lengths."""
    a = molecules["fluoroform"]
    stretched = replace(a, positions=a.positions * np.float32(1.01))
    train, samples = _data([a]), _data([stretched])
    score = _scores(train, samples, train)["bonds W1"]
    lengths = np.linalg.norm(a.positions[a.bonds[:, 0]] - a.positions[a.bonds[:, 1]], axis=1)
    assert score.value == pytest.approx(0.01 * lengths.mean(), rel=1e-3)
    assert score.parts == {"covered": 1}
    b = molecules["ethanol"]
    train = _data([b, a])
    other = _scores(train, Molecules([b], train.about), Molecules([a], train.about))
    logp = [measures.computed(m, ["logp"])["logp"] for m in (a, b)]
    assert other["logP"].value == pytest.approx(abs(logp[0] - logp[1]))
    assert other["bonds W1"].parts["covered"] == pytest.approx(0.25)  # one of four bonds is C-H


def test_angles_and_torsions_by_hand():
    """Hydrogen peroxide's skeleton in carbon: right angles, a torsion of 60 degrees."""
    turn = math.radians(60)
    places = [[1, 0, 0], [0, 0, 0], [0, 0, 1], [math.cos(turn), math.sin(turn), 1]]
    chain = checked([6, 6, 8, 7], places, bonds=[(0, 1, 1), (1, 2, 1), (2, 3, 1)])
    found = measures.geometry(chain)
    assert found["torsions"] == {"C-C-O-N": [pytest.approx(60)]}
    assert found["angles"] == {"C-C-O": [pytest.approx(90)], "C-O-N": [pytest.approx(90)]}
    assert found["bonds"]["C-O 1"] == [1]


def test_a_model_gains_nothing_by_leaving_kinds_out(molecules):
    a, b = molecules["aspirin"], molecules["ethanol"]
    train = _data([a, b])
    without = _scores(train, Molecules([b], train.about), Molecules([a], train.about))
    assert without["torsions W1"].value > 20 and without["torsions W1"].parts["covered"] < 0.5


def test_sanity_notices_each_fault(molecules):
    def faults(molecule):
        found = measures.sane(Looked(molecule, True).good)
        return {name for name, passed in found.items() if not passed}

    benzene, ethanol = molecules["benzene"], molecules["ethanol"]
    assert not faults(benzene) and not faults(ethanol) and not faults(molecules["caffeine"])
    assert "bond lengths" in faults(replace(benzene, positions=benzene.positions * np.float32(1.4)))
    bent = benzene.positions.copy()
    normal = np.linalg.svd(bent - bent.mean(0))[2][-1]
    bent[0] += 0.6 * normal
    assert "flat rings" in faults(replace(benzene, positions=bent))
    near = ethanol.positions.copy()
    near[8] = near[3] + 0.2  # the hydrogen of the hydroxyl into one of the methyl
    assert faults(replace(ethanol, positions=near)) == {"hydrogens"}


def _embedded(word):
    """An RDKit molecule with hydrogens, and its places."""
    mol = Chem.AddHs(Chem.MolFromSmiles(word))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=7) == 0
    return mol, mol.GetConformer().GetPositions()


def _faults(mol, places):
    mol.GetConformer().SetPositions(places)
    return {name for name, passed in measures.sane(mol).items() if not passed}


def test_double_bonds_in_rings_are_flat_too():
    mol, places = _embedded("C1CC=CCC1")
    assert not _faults(mol, places)
    around = [1, 2, 3, 4]
    places[1] += np.linalg.svd(places[around] - places[around].mean(0))[2][-1]
    assert "flat double bonds" in _faults(mol, places)


def test_the_ends_of_a_carboxylate_share_their_bounds():
    mol, places = _embedded("CC(=O)[O-]")
    bounds = rdDistGeom.GetMoleculeBoundsMatrix(mol)
    double, single = bounds[2, 1], bounds[3, 1]
    assert single > double + 0.05  # angstrom
    axis = places[3] - places[1]
    for share, wrong in ((0.98, True), (1.02, False)):
        length = 0.75 * double * share  # too short for a single bond
        places[3] = places[1] + axis * length / np.linalg.norm(axis)
        assert ("bond lengths" in _faults(mol, places)) == wrong


def test_the_checks_say_what_posebusters_says():
    """A sample of what `tools/bench/sanity.py` compares."""
    posebusters = pytest.importorskip("posebusters.modules.distance_geometry")
    rng = np.random.default_rng(1)
    names = {
        "bond lengths": "bond_lengths_within_bounds",
        "angles": "bond_angles_within_bounds",
        "clashes": "no_internal_clash",
    }
    thresholds = ("bad_bond_length", "bad_angle", "clash")
    limits = {f"threshold_{key}": v for key, v in zip(thresholds, (0.25, 0.25, 0.3), strict=True)}
    failed = dict.fromkeys(names, 0)
    for word in ("CC(=O)Oc1ccccc1C(=O)O", "C[N+](=O)[O-]", "CCCCCCC(C)(C)C", "OP(=O)([O-])OCC=C"):
        mol, places = _embedded(word)
        for factor, size in ((1, 0.1), (1, 0.2), (1, 0.5), (0.6, 0.1)):
            faults = _faults(mol, factor * places + rng.normal(size=places.shape, scale=size))
            told = posebusters.check_geometry(mol, **limits)["results"]
            for own, theirs in names.items():
                assert (own in faults) != told[theirs]
                failed[own] += own in faults
    assert all(0 < count < 16 for count in failed.values()), failed


def test_junk_is_scored_and_finite(whole):
    """Places that are not finite, or all one: every metric has a value, and a bad one."""
    x = whole.batch(range(8)).x
    for places in (torch.full_like(x["positions"].data, torch.nan), x["positions"].data * 0):
        state = Fields(positions=Ragged(places, x["positions"].owner, 8), atoms=x["atoms"])
        reference = whole.batch(range(8))
        for metric in _apart(whole):
            score = metric.between(metric.summary(Batch(state)), metric.summary(reference))
            assert math.isfinite(score.value)
            if metric.name in ("validity", "sane geometry", "unstrained"):
                assert score.value == 0


def test_summaries_add_to_that_of_the_whole(whole):
    for metric in _apart(whole):
        if metric.name == "unstrained":  # looks at the first of each batch
            continue
        a, b = whole.batch(range(6)), whole.batch(range(6, 16))
        parts = metric.summary(a) + metric.summary(b)
        one = metric.summary(concatenate([a, b]))
        assert parts.n == one.n == 16
        assert metric.between(parts, one).value == pytest.approx(metric.between(one, one).value)


def test_relaxing_lowers_the_energy_and_keeps_the_molecule(molecules):
    rng = np.random.default_rng(1)
    a = molecules["aspirin"]
    shaken = replace(a, positions=a.positions + rng.normal(0, 0.03, a.positions.shape).astype("f4"))
    got = relaxing.relax(shaken)
    assert got.after < got.before and got.strain > 5 > relaxing.relax(got.molecule).strain
    assert measures.symmetric_rmsd(got.molecule, a) < measures.symmetric_rmsd(shaken, a) + 0.2
    with pytest.raises(InputError, match="aspirin has no coordinates to relax"):
        relaxing.relax(replace(a, positions=None))


def test_what_is_missing_for_xtb_is_told(molecules, monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    with pytest.raises(InputError, match=r"pip install 'sfumato-molecules\[xtb\]'"):
        relaxing.relax(molecules["ethanol"], "xtb")


def test_symmetric_rmsd_sees_through_symmetry_and_motion(molecules):
    """Benzene turned by a sixth of a turn, its atoms in their places: nothing has changed."""
    a = molecules["benzene"]
    order = [1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11, 6]
    turned = replace(a, positions=a.positions[order] + np.float32(4))
    assert measures.symmetric_rmsd(a, turned) < 0.05
    with pytest.raises(InputError, match="no conformers of one molecule"):
        measures.symmetric_rmsd(a, molecules["ethanol"])


def test_conformers_against_the_nearest_of_the_same_molecule(molecules, place):
    a, b = molecules["aspirin"], molecules["ethanol"]
    moved = replace(a, positions=a.positions + np.float32(3))
    other = place("CC(=O)Oc1ccccc1C(=O)O", "other", seed=11)
    train = _data([a, b])
    metric = spatial.Conformers(Looking(train.about))

    def summary(*found):
        return metric.summary(Molecules(found, train.about).batch(range(len(found))))

    exact = metric.between(summary(moved, other), summary(a, b))
    assert exact.value < 1e-3 and exact.parts["covered"] == exact.parts["compared"] == 0.5
    distance = measures.symmetric_rmsd(a, other)
    assert exact.parts["precision"] == pytest.approx(distance / 2, abs=1e-3)
    parts = summary(moved) + summary(other)
    assert metric.between(parts, summary(a, b)).value == pytest.approx(exact.value)
    assert metric.between(summary(b), summary(a)).value == spatial.FAR


def test_copies_are_memorised_and_junk_is_not(molecules):
    everything = list(molecules.values())
    about = _data(everything).about
    train, held = Molecules(everything[:8], about), Molecules(everything[8:], about)
    (metric,) = [m for m in metrics.metrics(train) if m.name == "memorisation"]
    junk = [replace(m, positions=m.positions * np.float32(5)) for m in everything[:8]]
    reference = metric.summary(held.batch(range(8)))
    for made, share in ((everything[:8], 1), (junk, 0)):
        samples = metric.summary(Molecules(made, about).batch(range(8)))
        assert metric.between(samples, reference).value == share


def test_conformers_of_one_molecule_have_no_memorisation(molecules, place):
    names = [m.name for m in metrics.metrics(_data([place("CCO", seed=i) for i in range(1, 4)]))]
    assert "memorisation" not in names and "validity" in names


def test_graphs_have_no_geometry(tmp_path):
    (tmp_path / "a.smi").write_text("CCO\nCCN\nc1ccccc1\n")
    from sfumato_molecules.domain import domain

    data = domain.read(tmp_path / "a.smi")
    names = [m.name for m in domain.metrics(data)]
    assert names == ["validity", "valid, unique and novel", "QED", "SA", "logP", "memorisation"]
