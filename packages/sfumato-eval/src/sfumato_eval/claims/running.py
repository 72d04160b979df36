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
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
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

POLL = 0.05
"""Seconds between looks at what is running."""

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
    jobs: int = 1,
    again: bool = False,
    tell: Tell = lambda line: None,
) -> list[Result]:
    """Run the trials of systems, seed by seed; what fails costs its own row.

    Args:
        components: the systems, from `find_systems`.
        out: folder of the rows, `out/<id>/seed-<i>.json`, and of what the trials print, `.log`.
        asked: scale, minutes and device.
        seeds: the seeds are 0..seeds-1.
        jobs: seeds that run at a time, each on one thread; no more than there are idle cores, as
            some trials measure time.
        again: run also what has a row.
        tell: is given a line for each seed and for each system that is broken.

    Raises:
        InputError: for a number that is not positive.
        KeyboardInterrupt: after Ctrl-C; its text says what was kept.
    """
    if seeds < 1 or jobs < 1:
        what, count = ("seed", seeds) if seeds < 1 else ("job", jobs)
        raise InputError(f"there must be at least one {what}, not {count}")
    asked = asked or Asked()
    found: list[tuple[Component, System | None, str | None]] = []
    waiting: list[_Trial] = []
    rows: dict[tuple[str, int], Row] = {}
    for component in components:
        try:
            system = load_system(component)
        except PluginError as error:
            tell(str(error))
            found.append((component, None, str(error)))
            continue
        found.append((component, system, None))
        folder, code = out / system.id, fingerprint(component)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(seeds):
            trial = _Trial(component.name, seed, asked, code, folder)
            row = read_row(trial.path)
            if row is not None and not again and _serves(row, asked, code):
                tell(f"{trial}: {_told(row)} (kept)")
                rows[component.name, seed] = row
            else:
                waiting.append(trial)
    with closing(_ended(waiting, jobs, tell)) as ended:
        for trial in ended:
            row = rows[trial.name, trial.seed] = trial.row()
            write_json(trial.path, to_json(row))
            tell(f"{trial}: {_told(row)}")
    return [
        Result(
            component,
            system,
            () if system is None else tuple(rows[component.name, seed] for seed in range(seeds)),
            broken,
        )
        for component, system, broken in found
    ]


def _ended(waiting: Sequence[_Trial], jobs: int, tell: Tell) -> Generator[_Trial, None, None]:
    """Trials in the order in which they end, so many at a time; nothing is left of the others."""
    queue, running = deque(waiting), list[_Trial]()
    try:
        while queue or running:
            while queue and len(running) < jobs:
                running.append(queue.popleft())
                tell(f"{running[-1]}: running, at most {running[-1].asked.minutes:g} minutes")
                running[-1].start()
            for trial in [one for one in running if one.over()]:
                yield trial
                running.remove(trial)
                trial.close()
            time.sleep(POLL)
    except KeyboardInterrupt:
        lost = ", ".join(map(str, running)) or "nothing"
        raise KeyboardInterrupt(
            f"lost: {lost}; the same command goes on with what is missing"
        ) from None
    finally:
        for trial in running:
            trial.close()


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


class _Trial:
    """One seed in a process of its own, from its start to its row."""

    def __init__(self, name: str, seed: int, asked: Asked, code: str, folder: Path) -> None:
        self.name, self.seed, self.asked, self.code, self.folder = name, seed, asked, code, folder
        self.path, self.log = (folder / f"seed-{seed}.{end}" for end in ("json", "log"))
        self.process: subprocess.Popen[bytes] | None = None
        self.scratch: Path | None = None

    def __str__(self) -> str:
        return f"{self.name} seed {self.seed}"

    def start(self) -> None:
        """Begin it."""
        self.scratch = Path(tempfile.mkdtemp(prefix=f".seed-{self.seed}-", dir=self.folder))
        self.answer = self.scratch / "measured.json"
        facts = {
            "seed": self.seed,
            "scale": self.asked.scale,
            "device": self.asked.device,
            "scratch": str(self.scratch),
            "minutes": self.asked.minutes,
        }
        child = [sys.executable, "-m", "sfumato_eval.claims.child"]
        threads = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
        self.began = time.monotonic()
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [*child, self.name, json.dumps(facts), str(self.answer)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **threads},
                start_new_session=True,
            )

    def over(self) -> bool:
        """Whether it has ended, or its time has."""
        assert self.process is not None
        self.exit = self.process.poll()
        self.seconds = time.monotonic() - self.began
        return self.exit is not None or self.seconds > 60 * self.asked.minutes

    def row(self) -> Row:
        """What is kept of it."""
        status, cause = _ending(self.exit, self.asked.minutes, self.log)
        done = status == "done"
        facts = {
            "seed": self.seed,
            "scale": self.asked.scale,
            "minutes": self.asked.minutes,
            "device": self.asked.device,
            "code": self.code,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 2),
            "status": status,
            "cause": cause,
            "measured": json.loads(self.answer.read_text(encoding="utf-8")) if done else {},
        }
        return from_json(facts)

    def close(self) -> None:
        """Leave nothing of it, running or in its folder."""
        if self.process is not None:
            _kill(self.process)
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)


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
