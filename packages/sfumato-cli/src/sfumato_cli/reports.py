"""The verb `report`: everything about a run in one file."""

from __future__ import annotations

__all__ = ["report"]

from pathlib import Path
from typing import Annotated

import typer

from .options import Batch, Device, Guidance, RunFolder, Seed, counts
from .progress import progress


def report(
    run: RunFolder,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", help="Samples; by default half of what was held out, up to 1000.", min=1
        ),
    ] = None,
    steps: Annotated[
        str, typer.Option(help="Where quality is measured, besides the model's own steps.")
    ] = "5,10,20",
    seed: Seed = 0,
    device: Device = None,
    batch: Batch = None,
    guidance: Guidance = None,
    out: Annotated[
        Path | None, typer.Option(help="A file to write; by default report.html of the run.")
    ] = None,
) -> None:
    """Show and measure a run in one HTML file that needs no network."""
    wanted = counts(steps)

    from sfumato_train import open_run
    from sfumato_train.reporting import report as reported

    with progress("reporting") as watch:
        path = reported(
            open_run(run),
            n,
            steps=wanted,
            seed=seed,
            guidance=guidance,
            batch=batch,
            device=device,
            out=out,
            watch=watch,
        )
    typer.echo(f"wrote {path}")
