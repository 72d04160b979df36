"""A new plugin of any name is clean, typed, and passes its own tests; `wind` is in test_guide."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workspace import ROOT

PYTHON = [sys.executable, "-m"]


@pytest.fixture(scope="module")
def tides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the command writes it."""
    folder = tmp_path_factory.mktemp("new")
    done = run(["sfumato_cli", "new-plugin", "tides"], folder)
    assert done.stdout.startswith("wrote sfumato-tides; ")
    return folder / "sfumato-tides"


def run(words: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more}
    done = subprocess.run(
        [*PYTHON, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done


def test_it_is_clean(tides: Path) -> None:
    run(["ruff", "check", "--no-cache", "."], tides)
    run(["ruff", "format", "--check", "--no-cache", "."], tides)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_is_typed(tides: Path) -> None:
    run(["mypy", "--cache-dir", str(ROOT / ".mypy_cache/new_plugin")], tides)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_passes_its_tests(tides: Path, tmp_path: Path) -> None:
    run(["hatchling", "build", "--target", "wheel", "-d", str(tmp_path)], tides)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    run(["pip", "install", "--no-index", "--no-deps", "--target", str(site), str(wheel)], tmp_path)
    done = run(["pytest", "-q", "-p", "no:cacheprovider"], tides, PYTHONPATH=str(site))
    assert " passed" in done.stdout and "C16_plugin" not in done.stdout
