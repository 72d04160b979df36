"""Options that several verbs take."""

from __future__ import annotations

__all__ = [
    "Batch", "Device", "Grid", "Guidance", "Minutes", "Precision", "RunFolder", "Sampler", "Seed",
    "Steps", "Weights", "counts",
]  # fmt: skip

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from sfumato import InputError

Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the first accelerator.")
]
Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the network's arithmetic.")]
Minutes = Annotated[float | None, typer.Option(help="Stop cleanly after this long.", min=0.0)]
Batch = Annotated[
    int | None, typer.Option("--batch", help="Items in memory; by default what fits.", min=1)
]
Sampler = Annotated[str | None, typer.Option(help="A name of `sfumato list sampler`.")]
Grid = Annotated[
    str | None, typer.Option(help="A name of `sfumato list grid`, or a file of `tune-grid`.")
]
Steps = Annotated[int | None, typer.Option(help="Steps of the sampler.", min=1)]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal samples.", min=0)]
Guidance = Annotated[
    float | None, typer.Option(help="Classifier-free guidance; 1 is the plain conditional model.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")]
Weights = Annotated[
    str, typer.Option(help="ema, live, or another average that the recipe kept (power-0.1).")
]


def counts(text: str) -> Sequence[int]:
    """The step counts in `5,10,20`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise InputError(f"--steps {text!r}: accepted are numbers from 1 on with commas: 5,10,20")
    return [int(word) for word in words]
