"""Records: what the seeds of a system said, as JSON that ships with the package of the system.

A record is `records/<id>.json` of the import package that the system is announced from, so that
every plugin brings its own and `sfumato systems` finds them after `pip install`. Runs write theirs
where the user says; only `write_record` changes those that ship.
"""

from __future__ import annotations

__all__ = ["Listed", "catalogue", "record", "shipped", "write_record"]

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import sfumato
from sfumato import InputError
from sfumato.components import Component, PluginError
from sfumato.survey import Claim, System

from .judging import ENOUGH, judge
from .rows import Row, to_json, write_json
from .running import THREADS, load_system

FORMAT = 1


@dataclass(frozen=True)
class Listed:
    """A system as a table shows it.

    Attributes:
        component: its name, home (`owner`) and source.
        system: None where it cannot be loaded.
        broken: why, then.
        date: of its record; None where no claim was ever run.
        claims: what its record says of each of its claims as they stand now, None where nothing.
    """

    component: Component
    system: System | None
    broken: str | None
    date: str | None
    claims: tuple[Mapping[str, Any] | None, ...]

    @property
    def outcome(self) -> str:
        """The outcomes of all claims, equal ones counted."""
        if self.system is None:
            return "broken"
        found = ["not run" if one is None else str(one["outcome"]) for one in self.claims]
        counts = {one: found.count(one) for one in found}
        if len(counts) == 1:
            return found[0]
        return ", ".join(f"{count} {one}" for one, count in counts.items())

    @property
    def ratio(self) -> str:
        """The median ratio of each claim, `-` where there is none."""
        ratios = [None if one is None else one["ratio"] for one in self.claims]
        if all(one is None for one in ratios):
            return "-"
        return ", ".join("-" if one is None else f"{one:.2g}" for one in ratios)


def record(system: System, rows: Sequence[Row]) -> dict[str, Any]:
    """What a run of a system's claims says: outcomes, every seed, version and machine."""
    return {
        "format": FORMAT,
        "system": system.id,
        "date": max((row.date for row in rows), default="")[:10],
        "version": sfumato.__version__,
        "machine": _machine(),
        "claims": [_judged(claim, rows) for claim in system.claims],
        "seeds": [to_json(row) for row in rows],
    }


def _judged(claim: Claim, rows: Sequence[Row]) -> dict[str, Any]:
    verdict = judge(claim, rows)
    return {**asdict(claim), **asdict(verdict), "holds": list(verdict.holds)}


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def shipped(component: Component) -> dict[str, Any] | None:
    """The record that ships with a system, if there is one.

    Raises:
        PluginError: it is damaged, or was written by a newer sfumato.
    """
    home = _home(component)
    file = home and home.joinpath("records", f"{component.tail}.json")
    if not file or not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        written = found["format"]
        if written > FORMAT:
            raise PluginError(f"the record {file} has format {written}; update sfumato-eval")
        if not {"date", "claims", "seeds"} <= found.keys():
            raise KeyError("date, claims or seeds")
    except (ValueError, KeyError, TypeError) as error:
        raise PluginError(f"the record {file} is damaged: {error}") from None
    return dict(found)


def write_record(component: Component, found: Mapping[str, Any]) -> Path:
    """Put a record where it ships from; for those who maintain the system.

    Raises:
        InputError: its seeds are too few or of a smaller scale, or the package is no folder.
    """
    seeds = found["seeds"]
    if len(seeds) < ENOUGH or any(row["scale"] < 1 for row in seeds):
        raise InputError(
            f"a record of {component.name} needs at least {ENOUGH} seeds of scale 1 or more"
        )
    home = _home(component)
    if not isinstance(home, Path):
        raise InputError(f"{component.target} is in no folder; records are written to source trees")
    path = home / "records" / f"{component.tail}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, found)
    return path


def _home(component: Component) -> Traversable | None:
    """The folder of the import package that a component is announced from."""
    try:
        return files(component.target.partition(":")[0].partition(".")[0])
    except TypeError:
        return None  # a module that is no package has no room for records


def catalogue(components: Sequence[Component]) -> list[Listed]:
    """Every system with what its record says; one that is broken says why."""
    return [_listed(component) for component in components]


def _listed(component: Component) -> Listed:
    try:
        system, found = load_system(component), shipped(component)
    except PluginError as error:
        return Listed(component, None, str(error), None, ())
    known = found["claims"] if found else []
    claims = tuple(_same(claim, known) for claim in system.claims)
    return Listed(component, system, None, found["date"] if found else None, claims)


def _same(claim: Claim, known: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry of a record for this very claim, its bound included."""
    wanted = asdict(claim)
    return next((one for one in known if {key: one.get(key) for key in wanted} == wanted), None)
