"""`plugins`, `list` and `show`: what is installed, quickly and without loading it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PARTS = """
    import dataclasses
    from pydantic import BaseModel, Field

    @dataclasses.dataclass(frozen=True)
    class Solver:
        \"\"\"Second order.

        And more.
        \"\"\"
        eta: float = 0.5

    solver = Solver(eta=0.25)

    class Digits(BaseModel):
        \"\"\"Real digits.\"\"\"
        steps: int = Field(2000, gt=0, description="training steps")
        rate: float

    def karras(process, steps: int, rho: float = 7.0):
        \"\"\"Equal steps.\"\"\"
"""


@pytest.fixture
def parts(site):
    site.module("parts", PARTS)
    site.plugin(
        "alpha",
        ("recipe", "alpha/digits", "parts:Digits", "trains on digits"),
        ("sampler", "solve", "parts:Solver", "a solver"),
        ("sampler", "solved", "parts:solver", "a solver with its field set"),
        ("grid", "karras", "parts:karras", "a grid"),
        ("process", "karras", "parts:Solver", "a process of the same name"),
        ("grid", "gone", "no_such_module_at_all:x", "cannot be loaded"),
    )
    return site


def test_plugins_lists_the_good_and_the_broken_and_succeeds(site):
    site.plugin("alpha", ("grid", "one", "parts:x", ""), ("grid", "two", "parts:x", ""))
    site.plugin("broken", fails="raise OSError('no sound card')")
    result = site.run("plugins")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["alpha", "dist-alpha", "1.5", "2"] in lines
    assert ["broken", "dist-broken", "1.5", "broken:", "OSError:"] in [line[:5] for line in lines]
    assert "no sound card" in result.stdout


def test_list_shows_all_or_one_kind(parts):
    everything = parts.run("list").stdout.splitlines()
    assert [line.split()[:2] for line in everything] == [
        ["process", "karras"],
        ["sampler", "solve"],
        ["sampler", "solved"],
        ["grid", "gone"],
        ["grid", "karras"],
        ["recipe", "alpha/digits"],
    ]
    assert parts.run("list", "recipe").stdout.split("\n")[0].endswith("trains on digits")
    assert "parts" not in sys.modules


def test_list_of_an_empty_or_unknown_kind(parts):
    assert parts.run("list", "metric").stderr.strip() == "no installed plugin announces a metric"
    wrong = parts.run("list", "recipes")
    assert wrong.exit_code == 1
    assert wrong.stderr == "Error: there is no kind 'recipes'; did you mean recipe?\n"
    assert parts.run("list", "recipe", "grid").exit_code == 1


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_show_a_recipe_with_its_fields(parts):
    result = parts.run("show", "alpha/digits")
    assert result.exit_code == 0
    rows = words(result.stdout)
    assert ["target", "parts:Digits"] in rows and ["owner", "dist-alpha"] in rows
    assert ["Real", "digits."] in rows
    assert ["steps", "int", ">", "0", "2000", "training", "steps"] in rows
    assert ["rate", "float", "(required)"] in rows


def test_show_a_sampler_class_a_sampler_and_a_function(parts):
    assert ["eta", "float", "0.5"] in words(parts.run("show", "solve").stdout)
    assert ["eta", "float", "0.25"] in words(parts.run("show", "solved").stdout)
    grid = words(parts.run("show", "karras", "--kind", "grid").stdout)
    assert ["rho", "float", "7.0"] in grid and ["process", "(required)"] in grid


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("karras", "'karras' is a process and a grid; say which with --kind"),
        ("digits", "there is nothing named 'digits'; did you mean alpha/digits?"),
        ("gone", "cannot be loaded from 'no_such_module_at_all:x'"),
    ],
)
def test_show_says_what_is_wrong(parts, name, says):
    result = parts.run("show", name)
    assert result.exit_code == 1
    assert says in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", [["--help"], ["plugins"], ["list"], ["list", "metric"]])
def test_looking_around_loads_nothing_heavy(verb):
    """In a fresh interpreter, with whatever plugins are installed."""
    script = (
        "import sys\nfrom sfumato_cli.main import main\n"
        f"sys.argv = ['sfumato', *{verb!r}]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'scipy', 'PIL', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_version_and_unknown_verb(site):
    assert site.run("--version").stdout == f"sfumato {__import__('sfumato').__version__}\n"
    wrong = site.run("plugin")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("Error: there is no command 'plugin'; did you mean plugins")
