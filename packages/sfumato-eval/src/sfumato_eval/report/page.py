"""What a report consists of, and the one file that it becomes."""

from __future__ import annotations

__all__ = [
    "Block",
    "Charts",
    "Code",
    "Figure",
    "Figures",
    "Note",
    "Page",
    "Scenes",
    "Section",
    "Strip",
    "StripRow",
    "Table",
    "render",
    "scores",
]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from ..tables import Row, number
from .charts import Chart
from .pictures import Picture
from .scenes import Scene, script, script_hash


@dataclass(frozen=True)
class Note:
    """A paragraph; `missing` marks one that says why something is not there."""

    kind: ClassVar[str] = "note"
    text: str
    missing: bool = False


@dataclass(frozen=True)
class Charts:
    """Charts beside each other as far as there is room."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Figure:
    """A picture with words below it."""

    picture: Picture
    caption: str


@dataclass(frozen=True)
class Figures:
    """Pictures beside each other as far as there is room, to be compared."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Scenes:
    """Scenes beside each other, each of which can be turned."""

    kind: ClassVar[str] = "scenes"
    scenes: Sequence[Scene]


@dataclass(frozen=True)
class StripRow:
    """One row of a strip: its name and a picture, or none, for each column."""

    name: str
    pictures: Sequence[Picture | None]


@dataclass(frozen=True)
class Strip:
    """Small pictures in rows and named columns."""

    kind: ClassVar[str] = "strip"
    columns: Sequence[str]
    rows: Sequence[StripRow]
    about: str


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        head: names of the columns.
        rows: cells, as many as there are columns.
        numbers: columns that hold numbers.
    """

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()

    @property
    def shape(self) -> str:
        """How it fits a page: `slim`, `wordy` where sentences stand at the end of rows, `plain`."""
        if len(self.head) - 1 in self.numbers:
            return "slim"
        return "wordy" if len(self.head) > 3 else "plain"


@dataclass(frozen=True)
class Code:
    """Lines to copy."""

    kind: ClassVar[str] = "code"
    text: str


Block: TypeAlias = Note | Charts | Figures | Scenes | Strip | Table | Code


@dataclass(frozen=True)
class Section:
    """A part of the page; `words` say below its title how to read it."""

    title: str
    blocks: Sequence[Block]
    words: str = ""

    @property
    def anchor(self) -> str:
        """The title as a name that a link can point to."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: of the page.
        words: one line below the title.
        facts: the few numbers that a reader looks for first.
        sections: its parts.
    """

    title: str
    words: str
    facts: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()


def scores(rows: Sequence[Row]) -> Table:
    """Scores as a table with n, floor, ratio and protocol."""
    head = ["metric", "value", "floor", "ratio", "better", "n", "protocol"]
    return Table(head, [_cells(row) for row in rows], numbers=(1, 2, 3, 5))


def _cells(row: Row) -> list[str]:
    numbers = [number(value) for value in (row["value"], row["floor"], row["ratio"])]
    parts = [f"{name} {number(value)}" for name, value in row["parts"].items()]
    protocol = "; ".join([row["protocol"], *parts])
    return [row["name"], *numbers, row["better"], f"{row['n']:,}", protocol]


def render(page: Page) -> str:
    """The page as the text of an HTML file that needs no other file and no network.

    Everything in the page is text and is escaped. The file forbids the browser that shows it to
    load anything. It has no scripts, unless there are scenes: then it has the one that turns them,
    and by its hash forbids any other.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sfumato_eval.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    turns = any(isinstance(b, Scenes) for section in page.sections for b in section.blocks)
    return environment.get_template("page.html.jinja").render(
        page=page, script=script() if turns else None, allowed=script_hash() if turns else None
    )
