"""Scores as a table: rows, aligned Markdown (which reads as plain text), and a JSON file."""

from __future__ import annotations

__all__ = ["Row", "number", "render", "table", "write"]

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from .score import Better, Score

FORMAT = 1


class Row(TypedDict):
    """One score, ready for JSON."""

    name: str
    value: float
    floor: float | None
    ratio: float | None
    better: Better
    n: int
    protocol: str
    parts: dict[str, float]


def table(scores: Mapping[str, Score]) -> list[Row]:
    """One row for each named score, in the order given."""
    return [
        Row(
            name=name,
            value=score.value,
            floor=score.floor,
            ratio=score.ratio,
            better=score.better,
            n=score.n,
            protocol=score.protocol,
            parts=dict(score.parts),
        )
        for name, score in scores.items()
    ]


def render(rows: Sequence[Row]) -> str:
    """An aligned Markdown table with name, value, floor, ratio, direction, n and protocol."""
    head = ["metric", "value", "floor", "ratio", "better", "n", "protocol"]
    cells = [head] + [
        [
            row["name"],
            number(row["value"]),
            number(row["floor"]),
            number(row["ratio"]),
            row["better"],
            str(row["n"]),
            "; ".join([row["protocol"], *(f"{k} {number(v)}" for k, v in row["parts"].items())]),
        ]
        for row in rows
    ]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def number(value: float | None) -> str:
    """A number as tables show it: four digits, or a dash for what is not known."""
    return "-" if value is None else f"{value:.4g}"


def write(rows: Sequence[Row], path: str | Path) -> Path:
    """Write the rows as JSON, ``{"format": 1, "scores": [...]}``, whole or not at all.

    Raises:
        ValueError: if a number is NaN or infinite.
    """
    path = Path(path)
    text = json.dumps({"format": FORMAT, "scores": list(rows)}, indent=2, allow_nan=False) + "\n"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path
