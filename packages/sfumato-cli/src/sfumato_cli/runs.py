"""The verbs `train` and `evaluate`.

All knowledge of data is behind the run's domain, all work is in `sfumato_train`; here words become
arguments. Heavy libraries are imported when a verb runs, so that its help is quick.
"""

from __future__ import annotations

__all__ = ["evaluate", "train"]

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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
from .tables import columns

if TYPE_CHECKING:
    from sfumato_eval.tables import Row


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
        Path | None, typer.Option(help="Where the data is; by default that of the recipe.")
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
    batch: Batch = None,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Under torchrun: spread the weights over the processes.")
    ] = False,
    writer: Annotated[
        list[str] | None, typer.Option(help="tensorboard or wandb: tell it the curves too.")
    ] = None,
) -> None:
    """Train a recipe on data, into a run folder; under torchrun, by several processes together."""
    from sfumato_train import start

    out = out or Path("runs", recipe.rpartition("/")[2])
    quiet = os.environ.get("RANK", "0") != "0"
    with nullcontext() if quiet else progress("training", minutes=minutes) as watch:
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
            writers=writer or (),
            layout="shard" if fsdp else "replicate",
        )
    if not quiet:
        typer.echo(f"trained {run}")


def evaluate(
    run: RunFolder,
    data: Annotated[
        Path | None,
        typer.Option(help="Other data to measure against; by default what was held out."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", help="Items on each side; else half of the held-out ones.", min=1),
    ] = None,
    sampler: Sampler = None,
    grid: Grid = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = None,
    precision: Precision = "fp32",
    batch: Batch = None,
    guidance: Guidance = None,
    weights: Weights = "ema",
    samples: Annotated[
        Path | None, typer.Option(help="Samples that `sample` wrote; by default they are drawn.")
    ] = None,
) -> None:
    """Measure a run on data it has not seen; every score comes with its n and its floor."""
    import sfumato_eval
    from sfumato_train import evaluate as measured
    from sfumato_train import open_run
    from sfumato_train.files import write_text

    with progress("sampling") as watch:
        rows = measured(
            open_run(run),
            n,
            data_path=data,
            samples=samples,
            weights=weights,
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
    from sfumato_eval.tables import number

    numbers = map(number, (row["value"], row["floor"], row["ratio"]))
    return (row["name"], *numbers, row["better"], str(row["n"]), row["protocol"])
