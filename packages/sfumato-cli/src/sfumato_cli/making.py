"""The end of verbs that draw samples in a way of their own: draw, write, say so."""

from __future__ import annotations

__all__ = ["make"]

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .progress import progress
from .writing import write

if TYPE_CHECKING:
    from sfumato import Batch
    from sfumato_train import Run


def make(
    run: Run,
    out: Path,
    what: str,
    told: Mapping[str, Any],
    draw: Callable[..., Batch],
    *,
    device: str | None,
    **options: Any,
) -> None:
    """Draw samples with a bar of progress, write them to `out` and tell where they are.

    Args:
        run: what draws.
        out: see `writing.write`; a verb calls `writing.check` before it reads its input.
        what: the samples in words, such as `5 graphs`.
        told: what the verb was asked for; `samples.json` keeps it, and the options.
        draw: called with the options, the device and `watch`.
        device: where to draw.
        options: of `sfumato_train.draw`: sampler, steps, seed, weights.
    """
    with progress("drawing") as watch:
        made = draw(device=device, watch=watch, **options)
    facts = {"run": str(run.path), **told, **options}
    picture = write(run.domain, made, run.about, out, facts)
    typer.echo(f"wrote {what} to {out}, and {picture}")
