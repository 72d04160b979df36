"""The verbs `infill` and `score`."""

from __future__ import annotations

__all__ = ["infill", "score"]

from pathlib import Path
from typing import Annotated

import typer

from sfumato_cli.options import Batch, Device, Grid, RunFolder, Sampler, Seed, Steps, Weights


def infill(
    run: RunFolder,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="A text with gaps, [MASK] or [MASK*12] (tokens); may be repeated. Without one the "
            "whole length is drawn.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Results for each text.", min=1)] = 1,
    sampler: Sampler = None,
    grid: Grid = None,
    steps: Steps = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="A new .jsonl or .txt file; else they are printed.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the texts while they are drawn.")
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(help="A new .json file: what was drawn at each step.")
    ] = None,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Fill the gaps in texts; what is there is kept, token by token."""
    from .filling import fill

    told = fill(
        run, text or [], n, sampler=sampler, grid=grid, steps=steps, seed=seed, out=out,
        watch=watch, trace=trace, device=device, weights=weights,
    )  # fmt: skip
    typer.echo(told)


def score(
    run: RunFolder,
    data: Annotated[
        Path | None, typer.Option(help="Text to measure; by default what was held out.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Sets of hidden tokens for each window.", min=1)] = 8,
    seed: Seed = 0,
    batch: Batch = None,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Bound the likelihood of text: nats a token, bits a character, perplexity."""
    from .filling import scored

    typer.echo(scored(run, data, draws, seed, batch or 64, device, weights))
