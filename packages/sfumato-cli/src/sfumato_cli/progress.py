"""How far a long job is: a bar on a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

__all__ = ["progress"]

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfumato_train import Watch

PAUSE = 5.0  # seconds between plain lines

Paint = Callable[[int, int, str], None]


@contextmanager
def progress(what: str, *, minutes: float | None = None) -> Iterator[Watch]:
    """Show on stderr how a job proceeds, with loss, rate and the time left.

    Args:
        what: a word for the job.
        minutes: the job ends by then, whatever is done.
    """
    began = time.monotonic()
    first: tuple[int, float] | None = None
    painter: Callable[[str], AbstractContextManager[Paint]]
    painter = _bar if sys.stderr.isatty() else _lines
    with painter(what) as paint:

        def watch(step: int, total: int, loss: float | None, items_per_s: float | None) -> None:
            nonlocal first
            now = time.monotonic()
            first = first or (step, now)
            facts = [] if loss is None else [f"loss {loss:.4g}"]
            facts += [] if items_per_s is None else [f"{items_per_s:.3g} samples/s"]
            if step >= total:
                facts.append(f"took {_clock(now - began)}")
            elif step > first[0]:
                left = (now - first[1]) / (step - first[0]) * (total - step)
                left = left if minutes is None else min(left, began + 60 * minutes - now)
                facts.append(f"{_clock(left)} left")
            paint(step, total, ", ".join(facts))

        yield watch


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _bar(what: str) -> Iterator[Paint]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(what, total=None, facts="")

        def paint(step: int, total: int, facts: str) -> None:
            bar.update(task, completed=step, total=total, facts=facts)
            if step >= total:
                bar.stop()  # what follows has no steps to count

        yield paint


@contextmanager
def _lines(what: str) -> Iterator[Paint]:
    last = float("-inf")

    def paint(step: int, total: int, facts: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PAUSE or step >= total:
            last = now
            share = f"{100 * step / total:.0f} %"
            print(f"{what} {step}/{total} {share} {facts}".rstrip(), file=sys.stderr, flush=True)

    yield paint
