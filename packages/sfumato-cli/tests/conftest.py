"""A fake site-packages, so that the command can be tried with plugins made for the test."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import sfumato.plugins
from sfumato_cli.main import application


class Site:
    """Fake distributions in a folder; only these plugins exist for the command."""

    def __init__(self, path: Path):
        self.path = path
        self.modules: list[str] = []

    def module(self, name: str, text: str):
        (self.path / f"{name}.py").write_text(textwrap.dedent(text))
        self.modules.append(name)

    def plugin(self, name: str, *calls: tuple, fails: str = ""):
        """A distribution `dist-NAME` that announces the calls `(kind, name, target, ...)`."""
        lines = [
            f"    add({', '.join(map(repr, call[:3]))}, summary={call[3]!r})" for call in calls
        ]
        head = ["from sfumato import hook", fails, "@hook", "def sfumato_register(add):"]
        self.module(f"{name}_plugin", "\n".join([*head, *lines, "    pass"]))
        info = self.path / f"dist_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[sfumato]\n{name} = {name}_plugin\n")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(application(), list(words))

    def discover(self):
        found = importlib.metadata.distributions(path=[str(self.path)])
        return sfumato.plugins.discover([entry for dist in found for entry in dist.entry_points])


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sfumato.plugins, "_installed", site.discover)
    yield site
    for name in site.modules:
        sys.modules.pop(name, None)
