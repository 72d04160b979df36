"""The verbs `compare` and `tune-grid`."""

from __future__ import annotations

__all__ = ["compare", "tune_grid"]

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import Batch, Device, Grid, Guidance, RunFolder, Sampler, Seed, counts
from .progress import progress
from .tables import columns


def compare(
    run: RunFolder,
    samplers: Annotated[
        str, typer.Option(help="Names with commas; NAME@GRID gives one a grid of its own.")
    ] = "ddim,dpmpp-2m,heun",
    steps: Annotated[str, typer.Option(help="Numbers of steps, with commas.")] = "5,10,20",
    n: Annotated[
        int | None, typer.Option("-n", help="Samples of each; else as many as fit.", min=1)
    ] = None,
    grid: Grid = None,
    metric: Annotated[
        str | None, typer.Option(help="One of the domain's; by default its first distance.")
    ] = None,
    seed: Seed = 0,
    guidance: Guidance = None,
    batch: Batch = None,
    device: Device = None,
    out: Annotated[
        Path | None, typer.Option(help="A page to write; by default compare.html of the run.")
    ] = None,
) -> None:
    """Compare samplers of a run: quality against network calls, as a table and as a chart."""
    wanted = counts(steps)

    from sfumato_eval.report import render
    from sfumato_train import open_run
    from sfumato_train.comparing import compare as compared
    from sfumato_train.comparing import page, rows
    from sfumato_train.files import write_text

    opened = open_run(run)
    names = [name.strip() for name in samplers.split(",") if name.strip()]
    with progress("sampling") as watch:
        found = compared(
            opened, names, wanted, n, grid=grid, metric=metric, seed=seed, guidance=guidance,
            batch=batch, device=device, watch=watch,
        )  # fmt: skip
    columns(rows(found))
    out = out or run / "compare.html"
    write_text(out, render(page(opened, found)))
    typer.echo(f"wrote {out}")


def tune_grid(
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="Steps of the sampler.", min=1)] = 8,
    sampler: Sampler = None,
    method: Annotated[
        Literal["ld3", "ays"],
        typer.Option(help="ld3: learn to land where 64 steps lead; ays: minimise a bound."),
    ] = "ld3",
    n: Annotated[int, typer.Option("-n", help="Noises that it is made with.", min=10)] = 128,
    rounds: Annotated[int, typer.Option(help="Passes over them.", min=1)] = 20,
    shifted: Annotated[
        bool, typer.Option("--shifted", help="Learn also what the network is told.")
    ] = False,
    seed: Seed = 0,
    guidance: Guidance = None,
    device: Device = None,
) -> None:
    """Make a grid for a run, a sampler and a number of steps, and keep it with the run."""
    from sfumato_eval.tables import number
    from sfumato_train import open_run
    from sfumato_train.tuning import tune_grid as tuned

    with progress("tuning") as watch:
        found = tuned(
            open_run(run), steps, sampler=sampler, method=method, n=n, rounds=rounds,
            shifted=shifted, seed=seed, guidance=guidance, device=device, watch=watch,
        )  # fmt: skip
    what = "the bound" if method == "ays" else f"the distance to 64 steps of {sampler or 'it'}"
    typer.echo(f"{what} fell from {number(found.before)} to {number(found.after)}")
    own = f" --sampler {sampler}" if sampler else ""
    typer.echo(f"use it: sfumato sample {run}{own} --steps {steps} --grid {found.path}")
