"""Points in space that are joined by sticks, which a reader of the page can turn."""

from __future__ import annotations

__all__ = ["Scene", "script", "script_hash"]

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sfumato import InputError

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Scene:
    """Balls in space and sticks between them.

    Attributes:
        points: (x, y, z) of each ball.
        radii: of each ball, in the units of the points.
        colours: of each ball, `#rrggbb`.
        links: (i, j, strands): balls that are joined, by how many sticks side by side.
        caption: words below it.
    """

    points: Sequence[Sequence[float]]
    radii: Sequence[float]
    colours: Sequence[str]
    links: Sequence[tuple[int, int, int]]
    caption: str

    def __post_init__(self) -> None:
        count = len(self.points)
        if not count or len(self.radii) != count or len(self.colours) != count:
            raise InputError("a scene has at least one point, and a radius and colour for each")
        if not all(map(math.isfinite, (*self.radii, *(v for p in self.points for v in p)))):
            raise InputError("the points and radii of a scene have to be finite")
        if not all(map(_COLOUR.fullmatch, self.colours)):
            raise InputError("the colours of a scene are written #rrggbb")
        if any(not (0 <= i < count and 0 <= j < count) for i, j, _ in self.links):
            raise InputError(f"a link of a scene names a point that is not one of {count}")

    @property
    def content(self) -> str:
        """All but the caption, as JSON."""
        value = [list(map(list, self.points)), list(self.radii), list(self.colours),
                 list(map(list, self.links))]  # fmt: skip
        return json.dumps(value, separators=(",", ":"))


@cache
def script() -> str:
    """What draws scenes and turns them: it stands in a page once, and asks for nothing."""
    return resources.files(__package__).joinpath("scenes.js").read_text(encoding="utf-8")


@cache
def script_hash() -> str:
    """The hash by which a page allows this script and no other."""
    digest = hashlib.sha256(script().encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
