"""What the command line does with molecules: files, pictures, scenes, verbs; and damaged files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sfumato import Batch, Fields
from sfumato_cli.main import application
from sfumato_data import gather
from sfumato_molecules import chem, files, writing
from sfumato_molecules.domain import domain

TOOL = Path(__file__).parents[3] / "tools" / "fuzz_molecules.py"


@pytest.fixture
def sd(tmp_path, molecules):
    (path,) = writing.write(list(molecules.values()), tmp_path / "a.sdf")
    return path


def test_samples_are_written_with_where_their_bonds_are_from(sd, tmp_path):
    data = domain.read(sd)
    for out in (tmp_path / "b.sdf", tmp_path / "folder"):
        (path,) = domain.write(gather(data), out, data.about)
        found = files.read(path).molecules
        assert [chem.key(m) for m in found] == list(data.keys())
        assert {m.properties["bonds_from"] for m in found} == {"model"}
    assert path == tmp_path / "folder" / "samples.sdf"


def test_a_picture_has_a_cell_for_each_molecule(sd, tmp_path):
    data = domain.read(sd)
    path = domain.preview(data.batch(range(8)), tmp_path / "a.png", data.about)
    with Image.open(path) as image:
        assert image.size == (6 * 200, 2 * 200)
        cells = [np.asarray(image.convert("L"))[:170, 200 * i : 200 * i + 200] for i in range(6)]
    assert all((cell < 128).sum() > 50 for cell in cells)


def test_what_is_not_valid_is_shown_all_the_same(sd, tmp_path):
    """States on their way from noise, and those of a model that has diverged."""
    data = domain.read(sd)
    x = data.batch(range(4)).x
    batch = Batch(Fields(positions=x["positions"], atoms=x["atoms"]))
    for scale in (0.0, 3.0, torch.nan):
        batch.x["positions"].data.mul_(scale)
        assert domain.preview(batch, tmp_path / "a.png", data.about).stat().st_size > 1000
        assert all("not valid" in s.caption for s in domain.scenes(batch, data.about))


def test_scenes_are_the_molecules(sd, molecules):
    data = domain.read(sd)
    first, *rest = domain.scenes(data.batch(range(10)), data.about)
    assert len(rest) == 5 and first.caption == "CCO"
    assert len(first.points) == 9 and len(first.links) == 8
    assert first.colours[2] == "#e02020" and first.radii[0] == pytest.approx(0.51)
    about = data.about | {"dimensions": 2}
    assert domain.scenes(data.batch([0]), about) == []


def test_statistics_of_files(sd, tmp_path):
    (tmp_path / "b.smi").write_text("CCO\nnothing!\n")
    out = tmp_path / "facts.json"
    done = CliRunner().invoke(
        application(), ["molecule-statistics", "--data", str(tmp_path), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "17 molecules, 16 with coordinates" in done.output
    assert "1 record was left out:\n  b.smi, line 2: 'nothing!' is no SMILES" in done.output
    assert json.loads(out.read_text())["bond orders"]["3"] == 1
    words = ["molecule-statistics", "--data", str(tmp_path), "--strict"]
    done = CliRunner().invoke(application(), words)
    assert done.exit_code == 1 and "b.smi, line 2: 'nothing!' is no SMILES" in done.stderr


def test_relaxing_writes_both_energies(sd, tmp_path):
    out = tmp_path / "b.sdf"
    done = CliRunner().invoke(application(), ["relax", "--data", str(sd), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = files.read(out).molecules
    assert len(found) >= 14
    for molecule in found:
        assert molecule.properties["mmff_after"] <= molecule.properties["mmff_before"] + 1e-3


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_relaxed(tmp_path):
    words = ["relax", "--data", str(tmp_path / "not there.sdf"), "--out", str(tmp_path / "b.foo")]
    done = CliRunner().invoke(application(), words)
    assert done.exit_code == 1 and "cannot be written as .foo" in done.stderr


def test_damaged_files_raise_nothing_but_input_errors():
    done = subprocess.run(
        [sys.executable, str(TOOL), "--cases", "300", "--seed", "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read, refused = (int(done.stdout.split()[i]) for i in (2, 5))
    assert read + refused == 300 and min(read, refused) > 60
