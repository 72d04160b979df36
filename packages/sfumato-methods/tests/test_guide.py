"""The guide to samplers names all of them, and does what it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sfumato import registry
from sfumato_methods import solvers

HOME = Path(__file__).parents[1]
TOOL = HOME.parents[1] / "tools" / "readme_blocks.py"


def test_readme_lists_every_sampler():
    page = (HOME / "README.md").read_text(encoding="utf-8")
    own = [c.name for c in registry().list("sampler") if c.target.startswith("sfumato_methods.")]
    assert own and [name for name in own if f"`{name}`" not in page] == []
    classes = [name for name in solvers.__all__ if isinstance(getattr(solvers, name), type)]
    assert [name for name in classes if f"`{name}" not in page] == []


@pytest.mark.slow
def test_guide_does_what_it_shows(tmp_path):
    done = subprocess.run(
        [sys.executable, TOOL, HOME / "SAMPLERS.md"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert ": 0 blocks executed" not in done.stdout
