"""Samplers of one run side by side: quality against network calls."""

from __future__ import annotations

__all__ = ["Compared", "compare", "page", "rows"]

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sfumato import InputError, Unsupported
from sfumato.components import close_matches
from sfumato_data import alike
from sfumato_eval import Metric, Score
from sfumato_eval.report import Chart, Charts, Line, Note, Page, Section, Table
from sfumato_eval.tables import number

from .drawing import calls, component, draw
from .guards import Watch
from .reporting.measuring import main
from .runs import Run
from .yardstick import yardstick


@dataclass(frozen=True)
class Compared:
    """One sampler at one number of steps.

    Attributes:
        sampler: as it was asked for: a registered name, or name@grid.
        steps: of the sampler.
        metric: what the score is of.
        calls: network evaluations for a sample.
        score: of the samples, with its floor; None where the sampler cannot serve the process.
        speed: samples per second.
        why: what it cannot do.
    """

    sampler: str
    steps: int
    metric: str
    calls: int = 0
    score: Score | None = None
    speed: float = 0.0
    why: str = ""


def compare(
    run: Run,
    samplers: Sequence[str],
    steps: Sequence[int],
    n: int | None = None,
    *,
    grid: str | None = None,
    metric: str | None = None,
    seed: int = 0,
    guidance: float | None = None,
    batch: int | None = None,
    device: str | None = None,
    watch: Watch | None = None,
) -> list[Compared]:
    """Measure samplers of a run, all from the same noise and against the same held-out items.

    Args:
        run: the run; its last checkpoint, averaged weights.
        samplers: registered names; `name@grid` gives one a grid of its own, registered or a file.
        steps: numbers of steps.
        n: samples of each; None: half of the held-out items, at most 5,000.
        grid: of the samplers without one of their own; None: the model's.
        metric: name of one of the domain's; None: its first distance.
        seed: of the samples, and of the choice of real items.
        guidance: see `draw`.
        batch: see `draw`.
        device: see `draw`.
        watch: is told how many samples of all are done.

    Raises:
        InputError: if there is no sampler or no step count, n does not fit, or there is no such
            metric.
    """
    if not samplers or not steps or min(steps) < 1:
        raise InputError("compare needs one sampler or more, and step counts from 1 on")
    train, held = run.data()
    measure = yardstick(run.domain, alike(train), alike(held), n, seed)
    chosen = _metric(measure.metrics, metric)
    model = run.model(device=device)
    condition = measure.condition
    scale = model.guidance if guidance is None else guidance
    found: list[Compared] = []
    pairs = [(name, count) for name in samplers for count in steps]
    for i, (name, count) in enumerate(pairs):
        word, _, own = name.partition("@")
        walk, times = component("sampler", word), component("grid", own or grid)
        options: dict[str, Any] = {"sampler": walk, "grid": times, "seed": seed}
        tell = None if watch is None else _after(watch, i * measure.n, len(pairs) * measure.n)
        began = time.monotonic()
        try:
            samples = draw(
                model, measure.n, steps=count, condition=condition, guidance=guidance, batch=batch,
                watch=tell, **options,
            )  # fmt: skip
        except Unsupported as error:
            found.append(Compared(name, count, chosen.name, why=str(error)))
            continue
        speed = measure.n / max(time.monotonic() - began, 1e-9)
        network = calls(model, count, condition=condition, guidance=scale, **options)
        score = measure.score(chosen, samples)
        found.append(Compared(name, count, chosen.name, network, score, speed))
    return found


def _after(watch: Watch, before: int, whole: int) -> Watch:
    """A watch for one part of the work, which is told of the whole."""

    def tell(step: int, total: int, loss: float | None, items_per_s: float | None) -> None:
        watch(before + step, whole, loss, items_per_s)

    return tell


def _metric(metrics: Sequence[Metric[Any]], name: str | None) -> Metric[Any]:
    if name is None:
        return main(metrics)
    by_name = {metric.name: metric for metric in metrics}
    if name not in by_name:
        close = close_matches(name, by_name)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(by_name)}"
        raise InputError(f"there is no metric {name!r}; {hint}")
    return by_name[name]


def rows(found: Sequence[Compared]) -> list[list[str]]:
    """The table, its head first."""
    head = ["sampler", "steps", "network calls", found[0].metric, "over floor", "n", "samples/s"]
    table = [head]
    for one in found:
        if one.score is None:
            table.append([one.sampler, str(one.steps), one.why, "-", "-", "-", "-"])
            continue
        score = one.score
        numbers = [number(score.value), number(score.ratio), f"{score.n:,}", number(one.speed)]
        table.append([one.sampler, str(one.steps), str(one.calls), *numbers])
    return table


def page(run: Run, found: Sequence[Compared]) -> Page:
    """The chart and the table, readable offline."""
    head, *body = rows(found)
    names = list(dict.fromkeys(one.sampler for one in found if one.score is not None))
    each = {name: [one for one in found if one.sampler == name and one.score] for name in names}
    scored = [one.score for one in found if one.score is not None]
    charts = []
    for first in range(0, len(names), 5):
        lines = [
            Line(
                name,
                [one.calls for one in each[name]],
                [one.score.value for one in each[name] if one.score],
            )
            for name in names[first : first + 5]
        ]
        floor = scored[0].floor
        levels = {} if floor is None else {"floor: real against real": floor}
        title = f"{head[3]} by network calls per sample ({scored[0].better} is better)"
        charts.append(Chart(title, "network calls", head[3], lines, levels, log_x=True, log_y=True))
    blocks = [Charts(charts)] if charts else [Note("No sampler could serve this process.")]
    return Page(
        title=f"Samplers of {run.path.name}",
        words="All from the same noise, against the same held-out items.",
        facts={"recipe": run.name},
        sections=[Section("Quality against network calls", [*blocks, Table(head, body)])],
    )
