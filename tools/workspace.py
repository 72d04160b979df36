"""The distributions of the workspace, read from the folders of packages/ and plugins/."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Distribution", "distributions"]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Distribution:
    """One distribution: its folder and the tables of its pyproject.toml."""

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the folder, which is also what pip installs."""
        return self.folder.name

    @property
    def module(self) -> str:
        """The name that Python imports."""
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of the imported package."""
        return self.folder / "src" / self.module

    @property
    def project(self) -> dict[str, Any]:
        """The `[project]` table."""
        table: dict[str, Any] = self.settings["project"]
        return table

    @property
    def is_plugin(self) -> bool:
        """Whether it belongs to one domain, rather than to all of them."""
        return self.folder.parent.name == "plugins"


def distributions(root: Path = ROOT) -> list[Distribution]:
    """Every distribution of the workspace, packages first, by name."""
    return [
        Distribution(path.parent, tomllib.loads(path.read_text(encoding="utf-8")))
        for kind in ("packages", "plugins")
        for path in sorted((root / kind).glob("*/pyproject.toml"))
    ]
