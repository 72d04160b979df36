"""Running trials: each seed in a process of its own, with a time limit, kept as a row.

A seed that has a row is not run again, unless it crashed, the code of the system or what was asked
for has changed, or it is now allowed more time. The code is the versions of the core and of the
system's distribution, and the system's own files (its module and those beside it whose names begin
with the same id); after a change elsewhere ask for the seeds `again`.
"""

from __future__ import annotations

__all__ = ["SEEDS", "Asked", "Result", "find_systems", "fingerprint", "load_system", "run_claims"]

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sfumato
from sfumato import InputError
from sfumato.components import Component, PluginError, Registry
from sfumato.survey import System

from .rows import Row, Status, from_json, read_row, to_json, write_json

SEEDS = 3
"""Seeds that are run unless more are asked for."""

THREADS = 1
"""Threads of every trial, so that wall-clock times can be compared."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What every seed of a run has in common.

    Attributes:
        scale: 1 for the published desk scale, less for a quick look.
        minutes: a seed that takes longer is stopped.
        device: for torch.
    """

    scale: float = 1.0
    minutes: float = 5.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.minutes > 0):
            raise InputError(
                f"scale and minutes must be positive, not {self.scale} and {self.minutes}"
            )


@dataclass(frozen=True)
class Result:
    """The seeds of one system; without a system `broken` says why it could not be loaded."""

    component: Component
    system: System | None
    rows: tuple[Row, ...]
    broken: str | None = None


def find_systems(registry: Registry, names: Sequence[str]) -> list[Component]:
    """The systems of these names, with or without their `plugin/`; without names all of them.

    Raises:
        UnknownName: there is no such system.
    """
    if not names:
        return list(registry.list("system"))
    found: dict[str, Component] = {}
    for name in names:
        by_tail = [one for one in registry.list("system") if one.tail == name]
        one = by_tail[0] if len(by_tail) == 1 else registry.find("system", name)
        found[one.name] = one
    return list(found.values())


def load_system(component: Component) -> System:
    """The system behind a name.

    Raises:
        PluginError: it cannot be imported, is no `System`, or its id is not the announced name.
    """
    system = component.load()
    if not isinstance(system, System):
        raise PluginError(
            f"system {component.name!r} of {component.owner} is a {type(system).__name__}, not a "
            "sfumato.System"
        )
    if system.id != component.tail:
        raise PluginError(
            f"system {component.name!r} of {component.owner} calls itself {system.id!r}"
        )
    return system


def run_claims(
    components: Sequence[Component],
    out: Path,
    asked: Asked | None = None,
    *,
    seeds: int = SEEDS,
    again: bool = False,
    tell: Tell = lambda line: None,
) -> list[Result]:
    """Run the trials of systems, one seed after the other; what fails costs its own row.

    Args:
        components: the systems, from `find_systems`.
        out: folder of the rows, `out/<id>/seed-<i>.json`, and of what the trials print, `.log`.
        asked: scale, minutes and device.
        seeds: the seeds are 0..seeds-1.
        again: run also what has a row.
        tell: is given a line for each seed and for each system that is broken.

    Raises:
        InputError: for a number that is not positive.
        KeyboardInterrupt: after Ctrl-C; its text says what was kept.
    """
    if seeds < 1:
        raise InputError(f"there must be at least one seed, not {seeds}")
    results = []
    for component in components:
        try:
            system = load_system(component)
        except PluginError as error:
            tell(str(error))
            results.append(Result(component, None, (), str(error)))
            continue
        rows = _rows(component, out / system.id, asked or Asked(), seeds, again, tell)
        results.append(Result(component, system, tuple(rows)))
    return results


def _rows(
    component: Component, folder: Path, asked: Asked, seeds: int, again: bool, tell: Tell
) -> list[Row]:
    folder.mkdir(parents=True, exist_ok=True)
    code = fingerprint(component)
    rows = []
    for seed in range(seeds):
        path = folder / f"seed-{seed}.json"
        row = read_row(path)
        kept = row is not None and not again and _serves(row, asked, code)
        if row is None or not kept:
            tell(f"{component.name} seed {seed}: running, at most {asked.minutes:g} minutes")
            try:
                row = _run(component.name, seed, asked, code, folder)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"{component.name} seed {seed} is lost; the same command goes on with it"
                ) from None
            write_json(path, to_json(row))
        tell(f"{component.name} seed {seed}: {_told(row)}{' (kept)' if kept else ''}")
        rows.append(row)
    return rows


def _serves(row: Row, asked: Asked, code: str) -> bool:
    """Whether running again would tell nothing new."""
    same = (row.code, row.scale, row.device) == (code, asked.scale, asked.device)
    late = row.status == "out of time" and row.minutes >= asked.minutes
    return same and (row.status == "done" or late)


def _told(row: Row) -> str:
    if row.status != "done":
        return f"{row.status}: {row.cause}"
    numbers = (f"{key} {one.ratio:.4g}" for key, one in row.measured.items())
    return f"done in {row.seconds:.0f} s, ratios: {', '.join(numbers)}"


def _run(name: str, seed: int, asked: Asked, code: str, folder: Path) -> Row:
    """One seed in a process of its own."""
    scratch = Path(tempfile.mkdtemp(prefix=f".seed-{seed}-", dir=folder))
    log, answer = folder / f"seed-{seed}.log", scratch / "measured.json"
    trial = {
        "seed": seed,
        "scale": asked.scale,
        "device": asked.device,
        "scratch": str(scratch),
        "minutes": asked.minutes,
    }
    command = [sys.executable, "-m", "sfumato_eval.claims.child", name, json.dumps(trial)]
    began = time.monotonic()
    try:
        code_of_exit = _wait([*command, str(answer)], 60 * asked.minutes, log)
        facts = {
            "seed": seed,
            "scale": asked.scale,
            "minutes": asked.minutes,
            "device": asked.device,
            "code": code,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 2),
        }
        status, cause = _ending(code_of_exit, asked.minutes, log)
        measured = json.loads(answer.read_text(encoding="utf-8")) if status == "done" else {}
        return from_json({**facts, "status": status, "cause": cause, "measured": measured})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _wait(command: Sequence[str], seconds: float, log: Path) -> int | None:
    """The exit code of a command, None where the time was over; nothing of it is left running."""
    threads = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **threads},
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def _ending(code: int | None, minutes: float, log: Path) -> tuple[Status, str | None]:
    if code is None:
        return "out of time", f"stopped after {minutes:g} minutes"
    if code == 0:
        return "done", None
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return "crashed", f"{how}: {last} (see {log})"


def fingerprint(component: Component) -> str:
    """What a row depends on: versions, and the system's own files."""
    try:
        owner = version(component.owner)
    except PackageNotFoundError:
        owner = ""
    digest = hashlib.sha256(f"{sfumato.__version__} {component.owner} {owner}".encode())
    module = sys.modules[component.target.partition(":")[0]].__file__
    if module:
        for path in sorted(Path(module).parent.glob(f"{component.tail}*.py")) or [Path(module)]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
