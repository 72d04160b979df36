"""Verbs of plugins: lazy, with help of their own, and chosen by the run where they are shared."""

from __future__ import annotations

import json
import sys

import pytest

VERB = """
    from typing import Annotated
    import typer

    def infill(
        run: str,
        words: Annotated[list[str], typer.Argument()] = [],
        strength: float = 0.5,
    ):
        \"\"\"Fill holes in NAME.\"\"\"
        print("NAME", run, strength, words)
"""


@pytest.fixture
def shared(site):
    for name in ("images", "language"):
        site.module(f"{name}_verb", VERB.replace("NAME", name))
        verb = ("command", f"{name}/infill", f"{name}_verb:infill", f"fill holes in {name}")
        site.plugin(name, verb, ("domain", f"{name}-data", "no_module:x", ""))
    return site


def test_help_shows_the_summaries_without_loading(shared):
    text = shared.run("--help").stdout
    assert "infill" in text and "fill holes in images | fill" in text
    assert "images/infill" not in text
    assert "images_verb" not in sys.modules


def test_the_full_name_always_works(shared):
    result = shared.run("language/infill", "a-run", "--strength", "0.9", "key=value")
    assert result.stdout == "language a-run 0.9 ['key=value']\n"
    assert "images_verb" not in sys.modules


def test_the_domain_of_the_run_decides_who_serves_a_shared_verb(shared, tmp_path):
    (tmp_path / "mine").mkdir()
    note = tmp_path / "mine" / "recipe.json"
    note.write_text(json.dumps({"recipe": "other/recipe", "domain": "images-data"}))
    assert shared.run("infill", "mine").stdout == "images mine 0.5 []\n"
    assert shared.run("infill", "--strength", "1", "mine").stdout == "images mine 1.0 []\n"
    note.write_text("{")
    assert "mine/recipe.json is not the recipe of a run" in shared.run("infill", "mine").stderr


def test_without_a_run_a_shared_verb_asks_for_its_full_name(shared):
    wrong = shared.run("infill", "elsewhere")
    assert wrong.exit_code == 1
    assert "say images/infill or language/infill" in wrong.stderr


def test_help_of_a_verb_is_its_own(shared):
    result = shared.run("images/infill", "--help")
    assert result.exit_code == 0
    assert "Fill holes in images" in result.stdout and "--strength" in result.stdout
    assert "images/infill [OPTIONS]" in result.stdout


def test_a_wrong_option_is_reported(shared):
    result = shared.run("images/infill", "r", "--strength", "much")
    assert result.exit_code == 2
    assert "--strength" in result.stderr and "much" not in result.stdout


@pytest.mark.parametrize("name", ["own/list", "list", "own/data"])
def test_a_verb_of_the_command_itself_is_not_announced(site, name):
    site.plugin("own", ("command", name, "own_verb:listing", "another list"))
    verb = name.removeprefix("own/")
    says = f"command {name!r}: the sfumato command has a verb {verb!r}"
    assert f"broken: {says}" in site.run("plugins").stdout
    assert "another list" not in site.run("--help").stdout


def test_the_core_knows_the_verbs_of_the_command():
    from sfumato.components import VERBS
    from sfumato_cli import main

    assert {*main.VERBS, "data"} == set(VERBS)


def test_an_unknown_verb_gives_close_matches_and_the_broken_plugins(shared):
    wrong = shared.run("infil", "a-run")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("Error: there is no command 'infil'; did you mean infill")
    shared.plugin("audio", fails="raise OSError('no sound card')")
    wrong = shared.run("denoise", "a-run")
    assert "switched off: plugin 'audio' of dist-audio 1.5: OSError: no sound card" in wrong.stderr
    assert wrong.stderr.count("\n") == 1
