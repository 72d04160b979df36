"""Scenes of two things, drawn, with true captions: what captioning is tried on without any data.

All captions have as many words, and each scene has two that are true, since either thing may be
named first.
"""

from __future__ import annotations

__all__ = ["Scene", "Thing", "captions", "demo_path", "draw", "scenes"]

import json
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw
from torch import Generator

from sfumato import random
from sfumato_data.sources import cache
from sfumato_train.files import write_text
from sfumato_train.folders import placed

SIDE = 32
"""Pixels of a scene a side."""
COUNT = 2000
"""Scenes of the demo."""

COLOURS = {
    "red": (215, 40, 40), "green": (40, 150, 60), "blue": (45, 85, 220), "yellow": (235, 205, 40),
    "purple": (145, 60, 185), "black": (25, 25, 25),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": 3, "large": 6}  # half of the side, in pixels
RELATIONS = ("left of", "right of", "north of", "south of")  # each beside its opposite
GROUNDS = {"white": (248, 248, 248), "grey": (176, 180, 184), "pink": (250, 205, 215)}


class Thing(NamedTuple):
    """A thing of a scene."""

    size: str
    colour: str
    shape: str

    def __str__(self) -> str:
        return f"a {self.size} {self.colour} {self.shape}"


class Scene(NamedTuple):
    """Two things in the cells of a ground, 2 x 2.

    Attributes:
        first: the left or the upper one, if `relation` is even.
        second: the other.
        relation: how the first stands to the second, an index of `RELATIONS`.
        ground: a colour of `GROUNDS`.
        line: the row or the column of cells that they stand in.
        shake: pixels by which they are off the middle of their cells.
    """

    first: Thing
    second: Thing
    relation: int
    ground: str
    line: int
    shake: tuple[int, int, int, int]


def scenes(count: int, generator: Generator) -> list[Scene]:
    """Scenes with things and places drawn evenly; the two things of one always differ."""
    found: list[Scene] = []
    while len(found) < count:
        sizes = (2, 6, 4, 2, 6, 4, 4, 3, 2)
        rows = [random.integers(0, high, (count,), generator).tolist() for high in sizes]
        shakes = random.integers(-1, 2, (count, 4), generator).tolist()
        for *row, shake in zip(*rows, shakes, strict=True):
            first, second = (
                Thing(list(SIZES)[s], list(COLOURS)[c], SHAPES[f])
                for s, c, f in (row[:3], row[3:6])
            )
            if first != second:
                ground = list(GROUNDS)[row[7]]
                found.append(Scene(first, second, row[6], ground, row[8], tuple(shake)))
    return found[:count]


def captions(scene: Scene) -> tuple[str, str]:
    """The two captions that are true of a scene: either thing may be named first."""
    there, back = RELATIONS[scene.relation], RELATIONS[scene.relation ^ 1]
    first, second, ground = scene.first, scene.second, f"on a {scene.ground} ground"
    return f"{ground} {first} {there} {second}", f"{ground} {second} {back} {first}"


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, `SIDE` pixels a side."""
    image = Image.new("RGB", (SIDE, SIDE), GROUNDS[scene.ground])
    pen = ImageDraw.Draw(image)
    cells = SIDE // 4, SIDE - SIDE // 4
    begin = scene.relation % 2
    places = [(cells[k], cells[scene.line]) for k in (begin, 1 - begin)]
    if scene.relation >= 2:
        places = [(y, x) for x, y in places]
    shakes = scene.shake[:2], scene.shake[2:]
    for thing, (x, y), (dx, dy) in zip(scene[:2], places, shakes, strict=True):
        _thing(pen, thing, x + dx, y + dy)
    return image


def _thing(pen: ImageDraw.ImageDraw, thing: Thing, x: int, y: int) -> None:
    r, ink = SIZES[thing.size], COLOURS[thing.colour]
    box = (x - r, y - r, x + r, y + r)
    match thing.shape:
        case "circle":
            pen.ellipse(box, fill=ink)
        case "square":
            pen.rectangle(box, fill=ink)
        case "triangle":
            pen.polygon(((x - r, y + r), (x + r, y + r), (x, y - r)), fill=ink)
        case _:
            width = 1 + r // 2
            pen.line((x - r, y, x + r, y), fill=ink, width=width)
            pen.line((x, y - r, x, y + r), fill=ink, width=width)


def demo_path() -> Path:
    """A folder of 2,000 scenes with `captions.jsonl`, in the cache of data."""
    folder = cache() / "scenes"
    if folder.is_dir():
        return folder
    with placed(folder) as beside:
        rows = []
        for i, scene in enumerate(scenes(COUNT, random.derive(0, "scenes"))):
            draw(scene).save(beside / f"{i:04}.png")
            rows.append({"file": f"{i:04}.png", "text": captions(scene)[i % 2]})
        write_text(beside / "captions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder
