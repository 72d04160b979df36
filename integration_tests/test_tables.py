"""The generated tables of the README say what the registry and the records say."""

from __future__ import annotations

import subprocess
import sys

import pytest
import reference
import tables
from workspace import ROOT

import sfumato
from sfumato.components import Component


def test_readme_is_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "tables.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_page_is_not_stale_and_names_the_contract() -> None:
    page = reference.page()
    assert reference.PAGE.read_text(encoding="utf-8") == page, "run `python tools/reference.py`"
    missing = {name for name in sfumato.__all__ if f"\n### {name}\n" not in page} - {"random"}
    assert not missing
    for name in ("Recipe", "Objective", "Case", "sfumato_register", "C1_bridge_law", "normal"):
        assert f"\n### {name}\n" in page


def test_every_recipe_domain_and_system_has_a_line() -> None:
    registry, page = tables.workspace_registry(), (ROOT / "README.md").read_text(encoding="utf-8")
    kinds = ("domain", "recipe", "system")
    lines = {f"| `{one.name}` |" for kind in kinds for one in registry.list(kind)}
    assert lines and {line for line in lines if line not in page} == set()
    assert not registry.broken


def test_only_what_is_between_the_comments_changes() -> None:
    page = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    new = tables.inserted(page, "| new |")
    assert new == f"before\n{tables.BEGIN}\n\n| new |\n\n{tables.END}\nafter\n"
    assert tables.inserted(new, "| new |") == new
    with pytest.raises(SystemExit, match="needs the lines"):
        tables.inserted(f"{tables.END}{tables.BEGIN}", "")


def test_a_source_links_to_its_paper() -> None:
    def linked(source: str) -> str:
        return tables.linked(Component("system", "a", "a:b", "", source, "us"))

    assert linked("Us 2026, arXiv:2601.00001") == (
        "Us 2026, [arXiv:2601.00001](https://arxiv.org/abs/2601.00001)"
    )
    assert linked("Us 2026, Nature") == "Us 2026, Nature"
