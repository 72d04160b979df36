"""`systems` and `claims`: what is listed, run, printed and kept."""

from __future__ import annotations

import json

import pytest

SYSTEMS = """
    from sfumato import Claim, Measured, System

    def trial(trial):
        if trial.seed == 9:
            raise ValueError("unlucky")
        return {"speed": Measured(1.0 + trial.seed, 10.0, 0.05, 7, 1.0)}

    fast = System("fast", "Fast | Sampling", "Us 2026, arXiv:2601.00001", ("vp",), trial, (
        Claim("a fifth of the time", "speed", at_most=0.25),
        Claim("not for nothing", "speed", at_least=0.05),
    ))

    def dies(trial):
        raise ValueError("unlucky")

    dead = System("dead", "Dead", "Us 2026", (), dies, fast.claims[:1])
"""


@pytest.fixture
def lab(site, monkeypatch):
    folder = site.path / "lab_systems"
    folder.mkdir()
    site.module("lab_systems/__init__", "")
    site.module("lab_systems/all", SYSTEMS)
    site.modules += ["lab_systems", "lab_systems.all"]
    names = ("fast", "dead", "gone")
    site.plugin("lab", *[("system", f"lab/{n}", f"lab_systems.all:{n}", n) for n in names])
    monkeypatch.setenv("PYTHONPATH", str(site.path))
    return site


def cells(text):
    return [line.split() for line in text.splitlines()]


def test_systems_are_listed_and_a_broken_one_does_not_hide_the_others(lab):
    result = lab.run("systems")
    assert result.exit_code == 0
    rows = {row[0]: row for row in cells(result.stdout)}
    assert rows["lab/fast"][1:] == ["dist-lab", "not", "run", "-", "-", "Fast", "|", "Sampling"]
    assert rows["lab/gone"][2] == "broken" and "lab_systems.all:gone" in result.stderr
    facts = {one["id"]: one for one in json.loads(lab.run("systems", "--json").stdout)}
    assert facts["gone"]["broken"] and facts["fast"]["broken"] is None
    assert [one["outcome"] for one in facts["fast"]["claims"]] == [None, None]
    assert facts["fast"]["source"] == "Us 2026, arXiv:2601.00001"


def test_claims_are_run_judged_kept_and_shipped(lab, tmp_path):
    result = lab.run("claims", "fast", "--out", "seen", "--minutes", "1", "--ship")
    assert result.exit_code == 0, result.stderr
    first, second = cells(result.stdout)[1:]
    assert first[:8] == ["lab/fast", "undecided", "0.2", "<=", "0.25", "0.1", "0.2", "0.3"]
    assert first[8:] == "7 0.05 0.05 0.05 a fifth of the time".split()
    assert second[:5] == ["lab/fast", "reproduced", "0.2", ">=", "0.05"]
    assert "lab/fast seed 2: done in" in result.stderr
    found = json.loads((tmp_path / "seen" / "fast.json").read_text())
    assert [one["outcome"] for one in found["claims"]] == ["undecided", "reproduced"]
    shipped = json.loads((lab.path / "lab_systems" / "records" / "fast.json").read_text())
    assert shipped == found
    rows = {row[0]: row for row in cells(lab.run("systems").stdout)}
    assert rows["lab/fast"][2:8] == ["1", "undecided,", "1", "reproduced", "0.2,", "0.2"]
    again = lab.run("claims", "fast", "--out", "seen", "--minutes", "1")
    assert again.stderr.count("(kept)") == 3 and again.stdout == result.stdout


def test_a_crash_and_a_broken_system_are_told_in_the_exit_code(lab):
    result = lab.run("claims", "dead", "gone", "fast", "--seeds", "1", "--scale", "0.5")
    assert result.exit_code == 1
    assert "ValueError: unlucky" in result.stderr and "cannot be loaded" in result.stderr
    outcomes = [row[:2] for row in cells(result.stdout)[1:]]
    assert outcomes == [["lab/dead", "undecided"], *[["lab/fast", "undecided"]] * 2]
    wrong = lab.run("claims", "fats")
    assert wrong.exit_code == 1 and "did you mean lab/fast?" in wrong.stderr
    zero = lab.run("claims", "fast", "--minutes", "0")
    assert zero.exit_code == 1 and "must be positive" in zero.stderr
