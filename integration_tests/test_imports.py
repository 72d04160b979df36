"""What starts often starts fast: listing, help and `import sfumato` load no heavy library.

`tools/bench/imports.py` prints the exact numbers. Here processor time is taken and the bound is
loose, because the machines that run tests are busy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = {"numpy", "pydantic", "scipy", "sklearn", "torch"}
QUICK = [["plugins"], ["list"], ["--help"]]

# Runs the command as its script does, then tells what has been loaded.
PROBE = """
import sys
sys.argv = ["sfumato", *{words!r}]
from {module} import {attribute} as main
code = 0
try:
    main()
except SystemExit as stop:
    code = stop.code or 0
tops = {{name.partition(".")[0] for name in sys.modules}}
print("loaded:", code, *sorted(tops & {heavy!r}))
"""


def seconds(code: str, runs: int = 5) -> float:
    """The least processor time that a fresh interpreter took for the code in a few runs."""
    taken = []
    for _ in range(runs):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        after = os.times()
        taken.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    return min(taken)


def probe(words: list[str]) -> str:
    (script,) = entry_points(group="console_scripts", name="sfumato")
    module, _, attribute = script.value.partition(":")
    return PROBE.format(words=words, module=module, attribute=attribute, heavy=HEAVY)


def test_import_sfumato_loads_no_heavy_library() -> None:
    code = f"import sys, sfumato; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_command_loads_no_heavy_library(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", probe(words)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: 0", done.stdout + done.stderr


@pytest.mark.parametrize("verb", ["train", "sample", "evaluate"])
def test_help_of_a_verb_does_not_load_torch(verb: str) -> None:
    # typer itself imports pydantic to read the parameters of a verb
    code = probe([verb, "--help"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    status, *loaded = done.stdout.splitlines()[-1].split()[1:]
    assert status == "0", done.stdout + done.stderr
    assert set(loaded) <= {"pydantic"}


@pytest.mark.parametrize("words", [None, *QUICK], ids=lambda words: " ".join(words or ["import"]))
def test_start_is_quick(words: list[str] | None) -> None:
    code = probe(words) if words else "import sfumato"
    assert seconds(code) - seconds("pass") < 3 * 0.150
