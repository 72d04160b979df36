"""The tables of the README that are made from the registry and the records of claims.

`python tools/tables.py` writes them between the two comments of README.md; `--check` says whether
they are what they should be, and fails where they are not. Only what the distributions of this
workspace announce is in them.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import entry_points

from workspace import ROOT, distributions

from sfumato.components import Component, Registry
from sfumato.plugins import GROUP, discover
from sfumato_eval.claims import Listed, catalogue

__all__ = ["BEGIN", "END", "inserted", "linked", "main", "made", "workspace_registry"]

README = ROOT / "README.md"
BEGIN = "<!-- made by tools/tables.py: begin -->"
END = "<!-- made by tools/tables.py: end -->"


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when stale")
    check = parser.parse_args().check
    old = README.read_text(encoding="utf-8")
    new = inserted(old, made(workspace_registry()))
    if new == old:
        return
    if check:
        sys.exit("README.md is stale: run `python tools/tables.py`")
    beside = README.with_name(f".{README.name}.{os.getpid()}")
    beside.write_text(new, encoding="utf-8")
    beside.replace(README)
    print("README.md: tables written")


def workspace_registry() -> Registry:
    """What our own distributions announce, whatever else is installed."""
    ours = {each.name for each in distributions()}
    entries = [one for one in entry_points(group=GROUP) if one.dist and one.dist.name in ours]
    return discover(entries)


def made(registry: Registry) -> str:
    """The tables as Markdown."""
    parts = [
        "| kind | name | what it is | home |",
        "|---|---|---|---|",
        *(
            _line(kind, f"`{one.name}`", one.summary, _home(one.owner))
            for kind in ("domain", "recipe")
            for one in registry.list(kind)
        ),
        "",
        "| system | paper | home | claims | ratio |",
        "|---|---|---|---|---|",
        *(_system(one) for one in catalogue(registry.list("system"))),
    ]
    return "\n".join(parts)


def _system(one: Listed) -> str:
    component, when = one.component, f" ({one.date})" if one.date else ""
    paper = f"{one.system.title if one.system else component.summary}; {linked(component)}"
    return _line(
        f"`{component.name}`", paper, _home(component.owner), f"{one.outcome}{when}", one.ratio
    )


def linked(component: Component) -> str:
    """Where it was published, its arXiv id a link."""
    before, found, number = component.source.partition("arXiv:")
    return f"{before}[{found}{number}](https://arxiv.org/abs/{number})" if found else before


def _home(owner: str) -> str:
    each = next(each for each in distributions() if each.name == owner)
    return f"[`{owner}`]({each.folder.relative_to(ROOT).as_posix()})"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def inserted(page: str, tables: str) -> str:
    """The page with the tables between its two comments; exits where it lacks them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"README.md needs the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


if __name__ == "__main__":
    main()
