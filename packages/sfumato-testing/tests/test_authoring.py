"""`new_plugin`: what it writes, and what it refuses, with nothing half-written."""

from __future__ import annotations

import ast
import os
import re
import tomllib

import pytest

from sfumato import InputError
from sfumato_testing import authoring
from sfumato_testing.authoring import TEMPLATE, new_plugin


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "module"), [("wind", "sfumato_wind"), ("sea-ice2", "sfumato_sea_ice2")]
)
def test_every_file_is_there_and_filled_in(here, name, module):
    folder = new_plugin(name)
    assert folder.name == f"sfumato-{name}"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    sources = [path for path in TEMPLATE.rglob("*") if path.is_file()]
    assert len(found) == len(sources)
    assert {f"src/{module}/plugin.py", f"src/{module}/demo.csv", ".gitignore", "README.md"} <= found
    for path in found:
        text = (folder / path).read_text()
        assert not re.search(r"\$|tmpl", text), path
        if path.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"sfumato": {name: f"{module}.plugin"}}
    assert "sfumato>=0.1,<0.2" in project["dependencies"]
    assert os.listdir(here) == [folder.name]


def test_an_empty_folder_is_filled(here):
    (here / "mine").mkdir()
    assert (new_plugin("wind", here / "mine") / "pyproject.toml").is_file()
    assert (new_plugin("wind", here / "new" / "deep") / "pyproject.toml").is_file()
    assert os.listdir(here / "new") == ["deep"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "cannot be the name of a plugin") for name in (
            "", "Wind", "2winds", "sea ice", "sea--ice", "-wind", "wind-", "wind/x", "../wind",
            "wind.py", "w\u00efnd", "wind\n", "a" * 31,
        )),
        ("sfumato-wind", "name it 'wind': the package is called sfumato-wind without being told"),
        ("testing", "the name 'testing' is taken: a module sfumato_testing is installed"),
        ("methods", "the plugin name 'methods' is taken by sfumato-methods"),
    ],
)  # fmt: skip
def test_a_wrong_or_taken_name_is_refused(here, name, says):
    with pytest.raises(InputError) as error:
        new_plugin(name)
    assert says in str(error.value)
    assert os.listdir(here) == []


def test_a_folder_that_holds_something_stays_as_it_is(here):
    (here / "full").mkdir()
    (here / "full" / "thesis.tex").write_text("years of work")
    (here / "file").write_text("")
    for name in ("full", "file"):
        with pytest.raises(InputError, match=f"{name} is there already"):
            new_plugin("wind", here / name)
    with pytest.raises(InputError, match="the current folder cannot be replaced"):
        new_plugin("wind", here)
    with pytest.raises(InputError, match="cannot be made: Not a directory"):
        new_plugin("wind", here / "file" / "below")
    assert sorted(os.listdir(here)) == ["file", "full"]
    assert (here / "full" / "thesis.tex").read_text() == "years of work"


def test_nothing_is_left_where_writing_fails(here, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(authoring.shutil, "copyfile", full)
    with pytest.raises(InputError, match="sfumato-wind cannot be made: No space left on device"):
        new_plugin("wind")
    assert os.listdir(here) == []
