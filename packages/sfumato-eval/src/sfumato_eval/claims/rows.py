"""One seed of a trial as a JSON file: what was measured, or why nothing was."""

from __future__ import annotations

__all__ = ["Row", "Status", "from_json", "measured_json", "read_row", "to_json", "write_json"]

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sfumato.survey import Measured

Status: TypeAlias = Literal["done", "crashed", "out of time"]


@dataclass(frozen=True)
class Row:
    """One seed.

    Attributes:
        seed: of the trial.
        status: how it ended.
        scale: of the trial.
        minutes: the time that it was allowed.
        device: where it ran.
        code: fingerprint of what ran.
        date: of its end, UTC, ISO 8601.
        seconds: wall-clock time, the start of the process included.
        measured: the numbers by key; empty unless it is done.
        cause: why it is not done.
    """

    seed: int
    status: Status
    scale: float
    minutes: float
    device: str
    code: str
    date: str
    seconds: float
    measured: Mapping[str, Measured] = field(default_factory=dict)
    cause: str | None = None


def measured_json(measured: Mapping[str, Measured]) -> dict[str, dict[str, Any]]:
    """Numbers ready for JSON, their ratios added; null stands for what is not finite."""
    return {
        key: {name: _finite(value) for name, value in (asdict(one) | {"ratio": one.ratio}).items()}
        for key, one in measured.items()
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def to_json(row: Row) -> dict[str, Any]:
    """A row ready for JSON."""
    return {name: getattr(row, name) for name in Row.__dataclass_fields__} | {
        "measured": measured_json(row.measured)
    }


def from_json(facts: Mapping[str, Any]) -> Row:
    """The row that `to_json` wrote; raises KeyError or TypeError for anything else."""
    measured = {
        key: Measured(
            math.nan if one["method"] is None else one["method"],
            math.nan if one["baseline"] is None else one["baseline"],
            one["floor"],
            one["n"],
            one["cost"],
        )
        for key, one in facts["measured"].items()
    }
    return Row(**{**facts, "measured": measured})


def read_row(path: Path) -> Row | None:
    """The row in a file; None where there is none, or it is damaged and has to be run again."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        beside.write_text(text + "\n", encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
