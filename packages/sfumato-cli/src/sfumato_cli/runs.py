"""The verbs that work on runs: `train`, `sample` and `evaluate`.

All knowledge of data is behind the run's domain, all work is in `sfumato_train`; here words become
arguments. Heavy libraries are imported when a verb runs, so that its help is quick.
"""

from __future__ import annotations

__all__ = ["evaluate", "sample", "train"]

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sfumato import InputError

from .progress import progress
from .tables import columns

if TYPE_CHECKING:
    from sfumato import Batch, Model
    from sfumato_eval.tables import Row
    from sfumato_train import Watch

SHARD = 32
"""Samples drawn between two looks at the clock, where there is a time limit."""

Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the first accelerator.")
]
Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the network's arithmetic.")]
Minutes = Annotated[float | None, typer.Option(help="Stop cleanly after this long.", min=0.0)]
Size = Annotated[
    int | None, typer.Option("--batch", help="Items in memory; by default what fits.", min=1)
]
Sampler = Annotated[str | None, typer.Option(help="A name of `sfumato list sampler`.")]
Grid = Annotated[str | None, typer.Option(help="A name of `sfumato list grid`.")]
Steps = Annotated[int | None, typer.Option(help="Steps of the sampler.", min=1)]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal samples.", min=0)]
Guidance = Annotated[
    float | None, typer.Option(help="Classifier-free guidance; 1 is the plain conditional model.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")]


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name of `sfumato list recipe`.")
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="key=value", help="Fields of the recipe; see `sfumato show RECIPE`."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the data is; by default the demo data.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/ and the recipe's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Device = None,
    precision: Annotated[
        Literal["fp32", "bf16"] | None, typer.Option(help="Instead of the recipe's.")
    ] = None,
    minutes: Minutes = None,
    batch: Size = None,
) -> None:
    """Train a recipe on data, into a run folder."""
    from sfumato_train import start

    out = out or Path("runs", recipe.rpartition("/")[2])
    with progress("training", minutes=minutes) as watch:
        run = start(
            recipe,
            words or (),
            data,
            out,
            resume=resume,
            device=device,
            precision=precision,
            minutes=minutes,
            batch=batch,
            watch=watch,
        )
    typer.echo(f"trained {run}")


def sample(
    run: RunFolder,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="condition=value", help="What to sample, as the data has it."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many.", min=1)] = 16,
    sampler: Sampler = None,
    grid: Grid = None,
    steps: Steps = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="A folder to write; by default `samples` of the run.")
    ] = None,
    device: Device = None,
    precision: Precision = "fp32",
    minutes: Minutes = None,
    batch: Size = None,
    guidance: Guidance = None,
) -> None:
    """Draw samples from a run: a folder of files and, beside it, one picture of them."""
    from sfumato.state import items
    from sfumato_train import open_run

    from .writing import check, write

    opened = open_run(run)
    out = out or run / "samples"
    check(out)
    wanted = _conditions(words or ())
    condition = opened.domain.condition(wanted, n, opened.about)
    options = {"sampler": sampler, "grid": grid, "steps": steps, "seed": seed, "guidance": guidance}
    model = opened.model(device=device, precision=precision)
    try:
        with progress("sampling", minutes=minutes) as watch:
            made = _drawn(model, n, condition, options, batch, minutes, watch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no samples were written") from None
    count = items(made.x)
    facts = {"run": str(run), "n": count, **options, "condition": wanted}
    facts |= {"sampler": sampler or repr(model.sampler), "steps": steps or model.steps}
    picture = write(opened.domain, made, opened.about, out, facts)
    late = f" of the {n} asked for, in {minutes:g} minutes" if count < n else ""
    typer.echo(f"wrote {count} samples{late} to {out}, and {picture}")


def evaluate(
    run: RunFolder,
    data: Annotated[
        Path | None,
        typer.Option(help="Other data to measure against; by default what was held out."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Items on each side; by default all held out.", min=1)
    ] = None,
    sampler: Sampler = None,
    grid: Grid = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = None,
    precision: Precision = "fp32",
    batch: Size = None,
    guidance: Guidance = None,
) -> None:
    """Measure a run on data it has not seen; every score comes with its n and its floor."""
    import sfumato_eval
    from sfumato_train import evaluate as measured
    from sfumato_train import open_run

    from .writing import write_text

    with progress("sampling") as watch:
        rows = measured(
            open_run(run),
            n,
            data_path=data,
            sampler=sampler,
            grid=grid,
            steps=steps,
            seed=seed,
            guidance=guidance,
            batch=batch,
            device=device,
            precision=precision,
            watch=watch,
        )
    head = ("metric", "value", "floor", "ratio", "better", "n", "protocol")
    columns([head, *map(_cells, rows)])
    sfumato_eval.write(rows, run / "evaluation.json")
    write_text(run / "evaluation.md", sfumato_eval.render(rows))
    typer.echo(f"wrote {run / 'evaluation.json'} and {run / 'evaluation.md'}")


def _cells(row: Row) -> tuple[str, ...]:
    numbers = map(_number, (row["value"], row["floor"], row["ratio"]))
    return (row["name"], *numbers, row["better"], str(row["n"]), row["protocol"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _conditions(words: Sequence[str]) -> dict[str, str]:
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
) -> Batch:
    """The n samples, or the first shards of them that the minutes allow (at least one)."""
    import torch

    from sfumato import Batch
    from sfumato_data import concatenate, select
    from sfumato_train import draw

    began = time.monotonic()
    asked = Batch(torch.empty(n, 0), condition)
    shard = n if minutes is None else batch or SHARD
    found: list[Batch] = []
    for first in range(0, n, shard):
        part = select(asked, torch.arange(first, min(first + shard, n)))

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
