"""The verb `report`: its words become arguments, and an empty run one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sfumato_cli.main import application


def call(*words):
    return CliRunner().invoke(application(), ["report", *map(str, words)])


@pytest.fixture
def asked(monkeypatch):
    """What the report is asked for, in place of one."""
    found = {}

    def fake(run, n, *, watch, **options):
        watch(1, 1, None, None)
        found.update(options, run=run, n=n)
        return Path("somewhere", "report.html")

    monkeypatch.setattr("sfumato_train.reporting.report", fake)
    monkeypatch.setattr("sfumato_train.open_run", lambda path: f"the run in {path}")
    return found


def test_words_become_arguments(asked):
    result = call(
        "runs/mine", "-n", 30, "--steps", "4, 8", "--seed", 3, "--device", "cpu", "--batch", 5,
        "--guidance", 1.5, "--out", "a.html",
    )  # fmt: skip
    assert result.exit_code == 0 and result.stdout == f"wrote {Path('somewhere/report.html')}\n"
    assert "reporting 1/1 100 %" in result.stderr
    assert asked == {
        "run": "the run in runs/mine", "n": 30, "steps": [4, 8], "seed": 3, "device": "cpu",
        "batch": 5, "guidance": 1.5, "out": Path("a.html"),
    }  # fmt: skip


def test_there_are_defaults(asked):
    assert call("runs/mine").exit_code == 0
    assert asked["n"] is None and asked["steps"] == [5, 10, 20] and asked["out"] is None


@pytest.mark.parametrize("steps", ["five", "5,", "0", "5,-1", ""])
def test_steps_that_are_no_numbers_are_an_error(asked, steps):
    result = call("runs/mine", "--steps", steps)
    assert result.exit_code == 1 and not asked
    assert f"Error: --steps {steps!r}: accepted are numbers from 1 on" in result.stderr


def test_what_is_no_run_is_one_sentence(tmp_path):
    result = call(tmp_path)
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr == f"Error: {tmp_path} is not a run: it holds no recipe.json\n"
    assert not list(tmp_path.iterdir())
