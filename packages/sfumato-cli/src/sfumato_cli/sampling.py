"""The verb `sample`: few samples in one folder, many in shards, alone or by many processes."""

from __future__ import annotations

__all__ = ["conditions", "sample"]

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sfumato import InputError

from .options import (
    Batch,
    Device,
    Grid,
    Guidance,
    Minutes,
    Precision,
    RunFolder,
    Sampler,
    Seed,
    Steps,
    Weights,
)
from .progress import progress

if TYPE_CHECKING:
    import sfumato
    from sfumato import Model
    from sfumato_train import Run, Watch
    from sfumato_train.jobs import Asked

SAMPLES = 16
"""Samples that are drawn unless told."""

PART = 32
"""Samples drawn between two looks at the clock, where there is a time limit."""


def sample(
    run: RunFolder,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="condition=value", help="What to sample, as the data has it."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", help="How many, by default 16; with --data of each source, 1.", min=1),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="What to make something of: sources of pairs, pictures to describe."),
    ] = None,
    sampler: Sampler = None,
    grid: Grid = None,
    steps: Steps = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder, or a file of the domain; by default `samples` of the run."),
    ] = None,
    device: Device = None,
    precision: Precision = "fp32",
    minutes: Minutes = None,
    batch: Batch = None,
    guidance: Guidance = None,
    weights: Weights = "ema",
    shard: Annotated[
        int | None,
        typer.Option(help="Write so many at a time, each part whole; go on if stopped.", min=1),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that share the work on this machine.", min=1)
    ] = 1,
    backend: Annotated[
        Literal["queue", "ray"], typer.Option(help="What shares the work between processes.")
    ] = "queue",
) -> None:
    """Draw samples from a run: a folder of files and, beside it, one picture of them.

    More than 1,000 are written in shards, into a folder that the same command goes on with. Of a
    run of pairs, what it makes of sources is written in files of the names of these.
    """
    from sfumato_train import open_run
    from sfumato_train.jobs import Asked
    from sfumato_train.jobs.shards import JOB, SHARD
    from sfumato_train.pairing import is_paired
    from sfumato_train.places import place

    from .restoring import restore
    from .writing import is_file

    opened = open_run(run)
    out = out or run / "samples"
    n = n or (SAMPLES if data is None else 1)
    asked = Asked(
        n=n, shard=shard, batch=batch, sampler=sampler, grid=grid, steps=steps, seed=seed,
        guidance=guidance, condition=conditions(words or ()), precision=precision, device=device,
        weights=weights,
    )  # fmt: skip
    several = workers > 1 or backend != "queue" or place() is not None
    if data is not None or is_paired(opened.about):
        if several or shard is not None:
            raise InputError("what a run of pairs makes of sources is drawn by one process, whole")
        restore(opened, data, out, asked, minutes)
    elif several or shard is not None or n > SHARD or (out / JOB).is_file():
        if is_file(opened.domain, out):
            raise InputError(
                f"{out} is one file; more than {SHARD:,} samples, and those of several processes, "
                "are written in shards: name a folder"
            )
        _job(opened, out, asked, workers, backend, minutes)
    else:
        _samples(opened, out, asked, minutes)


def _samples(run: Run, out: Path, asked: Asked, minutes: float | None) -> None:
    """Few samples, in memory at once and in one folder."""
    from sfumato.state import items

    from .writing import check, drawing, facts, write

    check(run.domain, out)
    condition = run.domain.condition(asked.condition, asked.n, run.about)
    model = run.model(asked.weights, device=asked.device, precision=asked.precision)
    options = drawing(asked)
    try:
        with progress("sampling", minutes=minutes) as watch:
            made = _drawn(model, asked.n, condition, options, asked.batch, minutes, watch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no samples were written") from None
    count = items(made.x)
    picture = write(run.domain, made, run.about, out, facts(run, asked, model, count))
    late = f" of the {asked.n} asked for, in {minutes:g} minutes" if count < asked.n else ""
    typer.echo(f"wrote {count} samples{late} to {out}, and {picture}")


def _job(
    run: Run,
    out: Path,
    asked: Asked,
    workers: int,
    backend: Literal["queue", "ray"],
    minutes: float | None,
) -> None:
    """Many samples, in shards; of several workers that torchrun started, the first one tells."""
    from sfumato_train.jobs import sample_job
    from sfumato_train.places import place

    here = place()
    quiet = here is not None and here.rank > 0
    with nullcontext() if quiet else progress("sampling", minutes=minutes) as watch:
        job = sample_job(
            run, out, asked, workers=workers, backend=backend, minutes=minutes, watch=watch
        )
    if quiet:
        return
    if job.missing():
        typer.echo(f"{job.told()} are in {out}; run the same again to go on")
    else:
        typer.echo(f"wrote {job.n} samples in {job.count} shards to {out}, and {job.picture}")


def conditions(words: Sequence[str]) -> dict[str, str]:
    """`name=value` words by name.

    Raises:
        InputError: for a word of another form, or a name that comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"{word!r} is not a condition, which is written name=value")
        if name in found:
            raise InputError(f"the condition {name!r} is given twice")
        found[name] = value
    return found


def _drawn(
    model: Model,
    n: int,
    condition: Mapping[str, Any],
    options: Mapping[str, Any],
    batch: int | None,
    minutes: float | None,
    watch: Watch,
) -> sfumato.Batch:
    """The n samples, or as many of the first as the minutes allow."""
    import torch

    import sfumato
    from sfumato_data import concatenate, select
    from sfumato_train import draw

    began = time.monotonic()
    asked = sfumato.Batch(torch.empty(n, 0), condition)
    size = n if minutes is None else batch or PART
    found: list[sfumato.Batch] = []
    for first in range(0, n, size):
        part = select(asked, torch.arange(first, min(first + size, n)))

        def tell(
            step: int, total: int, loss: float | None, items_per_s: float | None, first: int = first
        ) -> None:
            watch(first + step, n, loss, items_per_s)

        found.append(
            draw(
                model,
                len(part.x),
                condition=part.condition,
                batch=batch,
                watch=tell,
                first=first,
                **options,
            )
        )
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            break
    return concatenate(found)
