"""The facts of data, states and back, conditions, splits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sfumato import Fields, InputError
from sfumato_data import sizes_of, split
from sfumato_molecules import chem, components, data, measures, writing
from sfumato_molecules.domain import domain
from sfumato_molecules.schema import schema, statistics, tables
from sfumato_molecules.state import molecules_of, named, pair_orders


@pytest.fixture
def sd(tmp_path, molecules):
    (path,) = writing.write(list(molecules.values()), tmp_path / "a.sdf")
    return path


def test_the_facts_of_data(sd):
    about = domain.read(sd, conditions=["logp", "weight"]).about
    assert about["dimensions"] == 3 and about["hydrogens"] and about["bonds"] == {"file": 16}
    assert sizes_of(domain.read(sd)) is None
    assert about["classes"] == [["H", 0], ["C", 0], ["N", -1], ["N", 0], ["N", 1], ["O", -1],
                                ["O", 0], ["F", 0], ["P", 0], ["S", 0], ["Cl", 0]]  # fmt: skip
    assert about["largest"] == 24 and sum(about["sizes"].values()) == 16
    weight = about["conditions"]["weight"]
    assert weight["low"] == pytest.approx(40.065, abs=1e-3)  # propyne and allene, C3H4
    assert weight["high"] == pytest.approx(194.19, abs=1e-2)  # caffeine
    assert about["skipped"] == {"rejected": 0, "passed over": 0, "first": []}
    assert json.loads(json.dumps(about)) == about


def test_points_and_back(sd, molecules):
    """Places are centred and otherwise kept; so are bonds, or they are told by the distances."""
    found = domain.read(sd)
    x = found.batch([3, 0, 12]).x
    wanted = [list(molecules.values())[i] for i in (3, 0, 12)]
    assert x["atoms"].counts.tolist() == [len(m) for m in wanted]
    for a, b in zip(molecules_of(x, found.about), wanted, strict=True):
        assert (a.bonds == b.bonds).all() and a.bonds_from == "model"
    bare = Fields({name: part for name, part in x.items() if name != "bonds"})
    for a, b in zip(molecules_of(bare, found.about), wanted, strict=True):
        assert chem.key(a) == chem.key(b) and a.charges.tolist() == b.charges.tolist()
        centred = b.positions - b.positions.mean(0)
        assert np.abs(a.positions - centred).max() < 2e-4  # an SD file has four decimals
        assert np.abs(a.positions.mean(0)).max() < 1e-6
        assert a.bonds_from == "distances"


def test_graphs_and_back(tmp_path, molecules):
    (path,) = writing.write(list(molecules.values()), tmp_path / "a.smi")
    found = domain.read(path)
    assert found.about["dimensions"] == 2 and not found.about["hydrogens"]
    batch = found.batch(range(16))
    nodes, edges = batch.x["nodes"], batch.x["edges"]
    sizes = nodes.mask.sum(1)
    assert sizes_of(found) == sizes.tolist()
    assert torch.equal(edges.mask.sum(1), sizes * (sizes - 1) // 2)
    assert int(edges.data[~edges.mask].sum()) == 0 == int(nodes.data[~nodes.mask].sum())
    for a, b in zip(molecules_of(batch.x, found.about), found.molecules, strict=True):
        assert (a.bonds[:, :2] == b.bonds[:, :2]).all() and (a.elements == b.elements).all()
        assert chem.smiles(a) == chem.smiles(b) is not None  # of either Kekule structure
        assert (a.charges == b.charges).all() and a.bonds_from == "model"


def test_pairs_stand_by_their_larger_atom(molecules):
    molecule = replace(molecules["ethanol"], bonds=np.array([(0, 2, 2), (1, 3, 1)], np.int16))
    orders = pair_orders(molecule)
    assert len(orders) == 36 and np.flatnonzero(orders).tolist() == [1, 4] and orders[1] == 2


def test_a_diverged_state_has_no_bonds(sd):
    found = domain.read(sd)
    x = found.batch([0]).x
    x["positions"].data.fill_(torch.nan)
    (molecule,) = molecules_of(x, found.about)
    assert len(molecule.bonds) == 0 and molecule.bonds_from == ""


def test_conditions_of_the_file_and_computed(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,activity\nCCO,1.5\nc1ccccc1,-2\n")
    found = domain.read(tmp_path / "a.csv", conditions=["activity", "rings"])
    assert found.batch([1, 0]).condition["activity"].tolist() == [-2, 1.5]
    assert found.batch([1, 0]).condition["rings"].tolist() == [1, 0]
    assert found.about["conditions"]["activity"]["mad"] == 1.75
    with pytest.raises(InputError, match="no number for 'colour': it has activity, and computed"):
        domain.read(tmp_path / "a.csv", conditions=["colour"])


def test_computed_properties_by_hand(molecules):
    found = measures.computed(molecules["aspirin"], list(measures.COMPUTED))
    assert found["weight"] == pytest.approx(180.159, abs=1e-3) and found["rings"] == 1
    assert found["logp"] == pytest.approx(1.310, abs=1e-3)  # as RDKit's documentation has it
    assert found["qed"] == pytest.approx(0.550, abs=2e-3) and 1 < found["sa"] < 2
    assert found["donors"] == 1 and found["tpsa"] == pytest.approx(63.6, abs=0.1)


def test_other_data_has_to_fit_the_facts(sd, tmp_path):
    about = domain.read(sd).about
    assert len(domain.follow(sd, about)) == 16
    (tmp_path / "b.xyz").write_text("1\n\nXe 0 0 0\n")
    with pytest.raises(
        InputError, match=r"b.xyz, line 1: Xe of charge \+0 is not one of H, C, N-,"
    ):
        domain.follow(tmp_path / "b.xyz", about)
    (tmp_path / "c.smi").write_text("CCO\n")
    with pytest.raises(InputError, match="c.smi, line 1 has no coordinates"):
        domain.follow(tmp_path / "c.smi", about)
    with pytest.raises(InputError, match="has 21 atoms; the largest known has 20"):
        domain.follow(sd, about | {"largest": 20})


def test_facts_that_cannot_be(molecules):
    flat = replace(molecules["ethanol"], positions=None)
    with pytest.raises(InputError, match="there are no molecules"):
        schema([])
    with pytest.raises(InputError, match="ethanol has no coordinates.*molecules/moses"):
        schema([flat], 3)
    with pytest.raises(InputError, match="ethanol has no bonds"):
        schema([replace(flat, bonds=flat.bonds[:0])], 2)
    with pytest.raises(InputError, match="dimensions 2 or 3, not 4"):
        schema([flat], 4)


def test_what_is_left_out_is_told_and_kept_with_the_facts(tmp_path, caplog):
    (tmp_path / "a.smi").write_text("CCO\nnothing!\nCC.O\n")
    about = domain.read(tmp_path / "a.smi").about
    assert about["skipped"]["rejected"] == 2
    assert about["skipped"]["first"][0] == "a.smi, line 2: 'nothing!' is no SMILES"
    (said,) = caplog.messages
    assert "2 records were left out: a.smi, line 2: 'nothing!' is no SMILES; a.smi, line 3" in said
    with pytest.raises(InputError, match="^a.smi, line 2: 'nothing!' is no SMILES$"):
        domain.read(tmp_path / "a.smi", strict=True)


def test_molecules_at_hand_are_a_data_set(molecules):
    found = data.dataset([molecules["ethanol"], molecules["benzene"]], conditions=["rings"])
    assert found.about == schema(found.molecules, 3, ["rings"])
    assert found.batch([1]).condition["rings"].tolist() == [1]


def test_a_split_keeps_conformers_and_stereoisomers_together(tmp_path):
    (tmp_path / "a.smi").write_text("\n".join(["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "NC(C)C(O)=O"]
                                              + [i * "C" + "O" for i in range(1, 40)]))  # fmt: skip
    found = domain.read(tmp_path / "a.smi")
    keys = found.keys()
    assert keys[0] == keys[1] == keys[2] == "QNAYBMKLOCPYGJ" and len(set(keys)) == 40
    for seed in range(8):
        train, held = split(found, 0.4, seed)
        assert not set(train.keys()) & set(held.keys())


def test_a_benchmark_has_a_test_part_of_its_own(tmp_path):
    for name, words in (
        ("train", "SMILES\nC\nCC\n"),
        ("test", "SMILES\nN\n"),
        ("test_more", "SMILES\nO\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(words)
    found = domain.read(tmp_path)
    train, held = split(found, None, 0)
    assert [chem.smiles(found.molecules[i]) for i in train.index] == ["C", "CC"]
    assert [chem.smiles(found.molecules[i]) for i in held.index] == ["N", "O"]


def test_statistics_by_hand(molecules):
    facts = statistics([molecules["ethanol"], molecules["glycine"]])
    assert facts["elements"] == {"H": 11, "C": 4, "O": 3, "N": 1}
    assert facts["charged"] == {"N+": 1, "O-": 1} and facts["atoms"] == {"9": 1, "10": 1}
    lengths = facts["bond lengths"]
    assert lengths["H-O 1"]["n"] == 1 and lengths["C-O 2"]["n"] == 1 and lengths["H-C 1"]["n"] == 7
    ends = molecules["ethanol"].positions[[2, 8]]
    assert lengths["H-O 1"]["mean"] == pytest.approx(np.linalg.norm(ends[0] - ends[1]), abs=1e-6)
    text = tables(facts)
    assert "2 molecules, 2 with coordinates" in text and "charged: N+ 1, O- 1" in text
    assert named("Ca", 2) == "Ca+2" and named("C", 0) == "C"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": "3"}, "no condition 'size'; this model takes atoms, logp"),
        ({"atoms": "many"}, "'many' is no number of atoms"),
        ({"atoms": "500"}, "500 atoms were not seen in training, whose molecules have 5 to 24"),
        ({"atoms": "100..200"}, "none of these sizes was not seen|none of these sizes"),
        ({"logp": "high"}, "logp=high is no number"),
        ({"logp": "50"}, "in training it lies between"),
    ],
    ids=["name", "word", "unseen", "range", "text", "far"],
)
def test_conditions_that_cannot_be_asked_for(sd, values, said):
    about = domain.read(sd, conditions=["logp"]).about
    with pytest.raises(InputError, match=said):
        domain.condition(values, 2, about)


def test_conditions_asked_for(sd):
    about = domain.read(sd, conditions=["logp"]).about
    assert domain.condition({}, 3, about) == {}
    found = domain.condition({"atoms": "7..9", "logp": "0.5,1"}, 5, about)
    assert found["logp"].tolist() == [0.5, 1, 0.5, 1, 0.5]
    seen = [n for n in (7, 8, 9) if str(n) in about["sizes"]]
    assert found["atoms"].tolist() == [seen[i % len(seen)] for i in range(5)]


def test_the_component_dictionary_is_where_it_says():
    """Its 49,195 components take seconds to read; here the small ones of three elements are."""
    assert components.demo_path().is_file()
    found = data.molecules_of_file(
        components.demo_path(), elements=("C", "H", "O"), heavy=4, fewest=3
    )
    assert 40 < len(found) < 100 and found.about["dimensions"] == 3
    names = {m.properties["id"]: m for m in found.molecules}
    assert chem.smiles(names["EOH"]) == "CCO" and chem.smiles(names["HOH"]) == "O"
