"""Molecules come back from every format as they were written; what is wrong is told."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest
from rdkit import Chem

from sfumato import InputError
from sfumato_molecules import chem, files, writing
from sfumato_molecules.files import Reading

SPATIAL = [".sdf", ".mol2", ".xyz", ".extxyz", ".pdb", ".cif"]
FLAT = [".smi", ".csv", ".selfies", ".inchi"]


@pytest.mark.parametrize("suffix", [*SPATIAL, *FLAT])
def test_molecules_survive_a_file(tmp_path, molecules, suffix):
    """The bonds, by InChIKey, and in formats of places the places and charges."""
    wanted = list(molecules.values())
    if suffix == ".xyz":  # which knows no charges: those of an azide are not found again
        wanted.remove(molecules["azide"])
    (path,) = writing.write(wanted, tmp_path / f"all{suffix}")
    found = files.read(path)
    assert found.rejected == [] and len(found.molecules) == len(wanted)
    for a, b in zip(found.molecules, wanted, strict=True):
        assert chem.key(a) == chem.key(b), b.source
        if suffix in SPATIAL:
            assert a.elements.tolist() == b.elements.tolist()
            assert sorted(a.charges.tolist()) == sorted(b.charges.tolist())
            assert suffix == ".xyz" or a.charges.tolist() == b.charges.tolist()
            assert np.abs(a.positions - b.positions).max() < 1e-3
            assert a.bonds_from == (
                "distances" if suffix in (".xyz", ".extxyz", ".pdb") else "file"
            )
        else:
            assert a.positions is None and not chem.has_hydrogens(a)


def test_properties_and_names_survive_sd_files_and_tables(tmp_path, molecules):
    from dataclasses import replace

    wanted = replace(
        molecules["ethanol"], properties={"name": "ethanol", "logp": -0.5, "made": "by hand"}
    )
    for suffix in (".sdf", ".csv", ".extxyz"):
        (path,) = writing.write([wanted], tmp_path / f"a{suffix}")
        (found,) = files.read(path).molecules
        assert found.properties["logp"] == -0.5 and found.properties["made"] == "by hand"


def test_v3000_and_gz(tmp_path, molecules):
    mol = chem.to_rdkit(molecules["nitromethane"])
    mol.UpdatePropertyCache(strict=False)
    block = Chem.MolToV3KMolBlock(mol) + "$$$$\n"
    with gzip.open(tmp_path / "a.sdf.gz", "wt") as out:
        out.write(2 * block)
    found = files.read(tmp_path / "a.sdf.gz").molecules
    assert [chem.key(m) for m in found] == 2 * [chem.key(molecules["nitromethane"])]
    assert found[0].charges.tolist() == molecules["nitromethane"].charges.tolist()


def test_aromatic_bonds_of_a_file_are_kekulised(tmp_path):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("Cc1ccncc1"), kekulize=False)
    assert "  4  0" in block
    (tmp_path / "a.mol").write_text(block)
    (found,) = files.read(tmp_path / "a.mol").molecules
    assert sorted(found.bonds[:, 2].tolist()) == [1, 1, 1, 1, 2, 2, 2]
    assert chem.smiles(found) == "Cc1ccncc1"


def test_qm9_and_extended_columns(tmp_path):
    (tmp_path / "a.xyz").write_text(
        "3\nQM9 gdb 3\nO 0 0 0.117 -0.8\nH 0 0.757 -0.469*^0 0.4\nH 0 -7.57*^-1 -0.469 0.4\n\n"
        '2\nProperties=pos:R:3:species:S:1 energy=-1.5 note="two words"\n0 0 0 H\n0 0 0.74 H\n'
    )
    water, hydrogen = files.read(tmp_path / "a.xyz").molecules
    assert chem.smiles(water) == "O" and water.properties == {"comment": "QM9 gdb 3"}
    assert hydrogen.elements.tolist() == [1, 1]
    assert hydrogen.properties == {"energy": -1.5, "note": "two words"}
    assert hydrogen.source == "a.xyz, line 7 (molecule 2)"


def test_models_of_pdb_and_of_mmcif(tmp_path, molecules):
    wanted = [molecules["ethanol"], molecules["benzene"]]
    (path,) = writing.write(wanted, tmp_path / "a.pdb")
    assert "MODEL        2" in path.read_text()
    assert [chem.smiles(m) for m in files.read(path).molecules] == ["CCO", "c1ccccc1"]
    atoms = "\n".join(
        f"HETATM {i} {s} {s}{i} . UNL A 1 1 ? {x:.3f} {y:.3f} {z:.3f} 1 UNL A {s}{i} 1"
        for i, (s, (x, y, z)) in enumerate(
            zip("CCOHHHHHH", wanted[0].positions.tolist(), strict=True), start=1
        )
    )
    names = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
             "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x",
             "Cartn_y", "Cartn_z", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id",
             "pdbx_PDB_model_num"]  # fmt: skip
    head = "\n".join(f"_atom_site.{name}" for name in names)
    (tmp_path / "b.cif").write_text(f"data_one\nloop_\n{head}\n{atoms}\n#\n")
    (found,) = files.read(tmp_path / "b.cif").molecules
    assert chem.smiles(found) == "CCO"


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    (tmp_path / "b.smi").write_text("CCO one\n# comment\n\nCC\ttwo words\n")
    (tmp_path / "a.csv").write_text("id,SMILES,mass\n7,C,16.04\n8,N,\n")
    (tmp_path / "notes.md").write_text("nothing")
    (tmp_path / "notes.txt").write_text("nothing either")
    (tmp_path / ".hidden.smi").write_text("???")
    found = files.read(tmp_path)
    assert [chem.smiles(m) for m in found.molecules] == ["C", "N", "CCO", "CC"]
    assert [dict(m.properties) for m in found.molecules] == [
        {"id": 7.0, "mass": 16.04}, {"id": 8.0}, {"name": "one"}, {"name": "two words"}
    ]  # fmt: skip
    assert found.ends == [("a.csv", 2), ("b.smi", 4)]


def test_what_is_taken_can_be_chosen(tmp_path):
    words = ["C", "CC", "CCC", "CCCC", "CN", "CCl", "c1ccccc1", "CCO.Cl"]
    (tmp_path / "a.smi").write_text("\n".join(words))

    def taken(**how):
        found = files.read(tmp_path / "a.smi", Reading(**how))
        return [chem.smiles(m) for m in found.molecules], found

    assert taken(heavy=2)[0] == ["C", "CC", "CN", "CCl"]
    assert taken(elements=("C", "H"))[0] == ["C", "CC", "CCC", "CCCC", "c1ccccc1"]
    assert taken(most=2)[0] == ["C", "CN"]
    assert taken(fewest=4)[0] == ["CCCC", "c1ccccc1"] and taken(fewest=4)[1].passed == 5
    assert taken(fragments="largest")[0][-1] == "CCO"
    assert taken(fragments="keep")[0][-1] == "CCO.Cl"
    assert [len(m) for m in taken(hydrogens="add")[1].molecules][:2] == [5, 8]
    assert "2 molecules; fragments=largest" in taken()[1].rejected[0].reason
    with pytest.raises(InputError, match="taken; 7 have other sizes or elements than are asked"):
        taken(fewest=100)


def test_hydrogens_are_added_with_places_and_dropped(tmp_path, molecules):
    (path,) = writing.write([molecules["ethanol"]], tmp_path / "a.sdf")
    (bare,) = files.read(path, Reading(hydrogens="drop")).molecules
    assert bare.elements.tolist() == [6, 6, 8] and len(bare.bonds) == 2
    (path,) = writing.write([bare], tmp_path / "b.sdf")
    (whole,) = files.read(path, Reading(hydrogens="add")).molecules
    assert len(whole) == 9 and np.isfinite(whole.positions).all()
    lengths = np.linalg.norm(np.diff(whole.positions[whole.bonds[:, :2]], axis=1)[:, 0], axis=1)
    assert ((0.9 < lengths) & (lengths < 1.6)).all()


SD = Chem.MolToMolBlock(Chem.MolFromSmiles("CO"))
SHORT = "x\n\n\n 9x\nM  END\n$$$$\nx\n$$$$\n"
EMPTY = "none\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n"
LOOP = SD.replace("  1  2  1  0", "  1  1  1  0") + "$$$$\n"
TWICE = SD.replace("  2  1  0", "  2  2  0").replace("M  END", "  1  2  1  0\nM  END") + "$$$$\n"
HUGE = SD.replace(SD.splitlines()[4][:10], "       nan") + "$$$$\n"
FAR = SD.replace("  1  2  1  0", "  1  7  1  0") + "$$$$\n"
NONE = SD.replace("  1  2  1  0", "  x  2  1  0") + "$$$$\n"
WRONG = {
    "odd.sdf": (SD + "$$$$\n" + EMPTY + LOOP + TWICE, ["0 atoms; a molecule has at least one",
                "(molecule 3): atom 1 has a bond with itself",
                "(molecule 4): atoms 1 and 2 have two bonds"]),
    "torn.sdf": (SD + "$$$$\n" + HUGE + FAR + NONE, [
                 "(molecule 2): atom 1 has no coordinates: '       nan",
                 "(molecule 3): '  1  7  1  0' is a bond with an atom that is not there",
                 "(molecule 4): '  x  2  1  0' is no bond"]),
    "a.smi": ("CCO\nC1CC\nXyz\nC(C)(C)(C)(C)C\n", ["line 2: 'C1CC' is no SMILES",
              "line 3: 'Xyz' is no SMILES", "line 4: Explicit valence for atom # 0 C, 5"]),
    "radical.smi": ("C\n[CH2]C\n", ["line 2: atom 1 (C) is a radical"]),
    "a.csv": ("smiles,x\nC,1\nCC\n,3\n", ["line 3: 1 columns in place of 2",
              "line 4: there is no molecule"]),
    "a.inchi": ("InChI=1S/CH4/h1H4\nInChI=1S/nothing\n", ["'InChI=1S/nothing' is no InChI"]),
    "a.selfies": ("[C][O]\n[C][nope]\n", ["line 2", "is no SELFIES"]),
    "a.sdf": (SD + "$$$$\n" + SD.replace(" C ", " Qq") + "$$$$\n" + SHORT,
              ["line 10 (molecule 2): atom 1 is of the unknown element 'Qq'",
               "counts line ' 9x' does not start", "it ends before M  END"]),
    "lost.xyz": ("1\n\nC 0 0 0\nC 0 0 0\n1\n\nN 0 0 0\n",
                 ["line 4 (molecule 2): 'C 0 0 0' is no number of atoms; from here on nothing"]),
    "nan.xyz": ("1\n\nC 0 0 nan\n1\n\nC 0 0 0\n", ["line 1", "atom 1 are missing or huge"]),
    "b.xyz": ("1\n\nC 0 0 0\n2\n\nQq 0 0 0\nC 0 0\n5\n\nC 0 0 0\n", ["unknown element 'Qq'",
              "line 8 (molecule 3): 5 atoms are announced, but 1 lines follow"]),
    "apart.xyz": ("1\n\nC 0 0 0\n2\n\nC 0 0 0\nC 9 0 0\n", ["it is 2 molecules"]),
    "a.mol2": ("@<TRIPOS>MOLECULE\nx\nnonsense\n@<TRIPOS>MOLECULE\ny\n 1 0 0\nSMALL\nNO_CHARGES\n\n"
               "@<TRIPOS>ATOM\n1 C1 0 0 0 C.3 1 U 0\n", ["RDKit cannot read the mol2 block"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_listed_or_fatal(tmp_path, name):
    text, told = WRONG[name]
    (tmp_path / name).write_text(text)
    found = files.read(tmp_path / name)
    assert found.molecules
    listed = "\n".join(f"{r.where}: {r.reason}" for r in found.rejected)
    for words in told:
        assert words in listed
    assert all(name in r.where and "\n" not in r.reason for r in found.rejected)
    with pytest.raises(InputError, match=f"^{name}, line"):
        files.read(tmp_path / name, Reading(strict=True))


REFUSED = {
    "none.smi": (
        "not_a_smiles!\n",
        r"none.smi holds no molecules that are taken; 1 record was left",
    ),
    "empty.sdf": ("", "holds no molecules that are taken"),
    "odd.pdf": ("", "is of no kind that holds molecules; accepted are .smi"),
    "a.csv": ("x,y\n1,2\n", "no column is called SMILES, SELFIES or InChI; there are x, y"),
    "bad.csv": ('smiles\n"' + 200_000 * "C" + '"\n', "line 2: field larger than"),
    "words.xyz": ("three\n\nC 0 0 0\n", "line 1: 'three' is no number of atoms"),
    "bad.sdf.gz": ("no packing", "bad.sdf.gz is damaged"),
    "bad.bcif": ("\x00\x01", "bad.bcif cannot be read"),
    "bad.cif": ("data_x\nloop_\n_a.b\n1\n", "holds neither _chem_comp_atom nor _atom_site"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_hold_no_molecules_are_told(tmp_path, name):
    text, said = REFUSED[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        files.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_such_file_folder_column_element(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        files.read(tmp_path / "not there.smi")
    with pytest.raises(InputError, match="holds no molecules; accepted are .smi"):
        files.read(tmp_path)
    (tmp_path / "a.csv").write_text("smiles,x\nC,1\n")
    with pytest.raises(InputError, match="there is no column 'mol2'; there are smiles, x"):
        files.read(tmp_path / "a.csv", Reading(column="mol2"))
    with pytest.raises(InputError, match="'Qq' is no element"):
        Reading(elements=("C", "Qq"))
    with pytest.raises(InputError, match="most must be at least 1"):
        Reading(most=0)


def test_too_much_is_refused_before_it_is_held(tmp_path, monkeypatch):
    with gzip.open(tmp_path / "bomb.smi.gz", "wb") as out:
        out.write(b"C\n" * 2_000_000)
    assert os.path.getsize(tmp_path / "bomb.smi.gz") < 10_000
    monkeypatch.setattr(files, "BIGGEST", 2**20)
    with pytest.raises(InputError, match="more than 1 GiB"):
        files.read(tmp_path / "bomb.smi.gz")
    (tmp_path / "long.smi").write_text("CC\n" + 1001 * "C" + "\n" + 30_000 * "C" + "\n")
    reasons = [r.reason for r in files.read(tmp_path / "long.smi").rejected]
    assert reasons == ["1001 atoms; accepted are 1 to 1,000",
                       "30,000 characters; accepted are at most 20,000"]  # fmt: skip


def test_nothing_half_written(tmp_path, molecules):
    target = tmp_path / "out.xyz"
    target.write_text("old")
    flat = files.Molecule(*[getattr(molecules["ethanol"], n) for n in ("elements",)], None,
                          molecules["ethanol"].charges, molecules["ethanol"].bonds)  # fmt: skip
    with pytest.raises(InputError, match="without coordinates cannot be written as XYZ"):
        writing.write([molecules["benzene"], flat], target)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(InputError, match="cannot be written as .pdf; accepted are .sdf"):
        writing.write([flat], tmp_path / "a.pdf")


def test_places_that_are_not_finite_are_not_written(tmp_path, molecules):
    from dataclasses import replace

    bad = replace(molecules["ethanol"], positions=molecules["ethanol"].positions * np.nan)
    with pytest.raises(InputError, match="ethanol has places that are not finite"):
        writing.write([bad], tmp_path / "a.sdf")
    assert not (tmp_path / "a.sdf").exists()


def test_ase_and_rdkit_objects(molecules):
    wanted = molecules["caffeine"]
    atoms = chem.to_ase(wanted)
    back = chem.from_ase(atoms)
    assert back.elements.tolist() == wanted.elements.tolist()
    assert np.abs(back.positions - wanted.positions).max() < 1e-5
    again = chem.from_rdkit(chem.to_rdkit(wanted))
    assert (again.bonds == wanted.bonds).all() and np.abs(
        again.positions - wanted.positions
    ).max() < 1e-5
