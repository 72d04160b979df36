"""A plugin for tests: labelled points in the plane, and a small network that learns them."""

from __future__ import annotations

from pathlib import Path

from sfumato import hook


@hook
def sfumato_register(add):
    add("domain", "toy/points", "toy_things:Points")
    add("recipe", "toy/points", "toy_things:Toy")
    add("recipe", "toy/nan", "toy_things:Poisoned")
    add("recipe", "toy/duel", "toy_things:Duel")
    add("recipe", "toy/judge", "toy_things:Judging")


def install(folder: Path) -> None:
    """Make `folder` look like one that the plugin is installed in."""
    info = folder / "toy_points-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-points\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[sfumato]\ntoy = toy_points\n")
