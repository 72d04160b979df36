"""The verbs `infill`, `score`, `judge`, `export`, `compress` and `decompress`."""

from __future__ import annotations

__all__ = ["compress", "decompress", "export", "infill", "judge", "score"]

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
    pattern: Annotated[
        str | None,
        typer.Option(help="A regular expression that each whole text matches, to its end."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A text that may fill a gap; may be repeated. All gaps take one each."),
    ] = None,
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
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code that came with a model of others.")
    ] = False,
) -> None:
    """Fill the gaps in texts; what is there is kept, token by token.

    RUN may also be the folder of a SEDD, MDLM, BD3LM or Duo, or of a masked model that transformers
    loads.
    """
    from .filling import fill

    told = fill(
        run, text or [], n, pattern=pattern, allow=allow or [], sampler=sampler, grid=grid,
        steps=steps, seed=seed, out=out, watch=watch, trace=trace, device=device, weights=weights,
        trust=trust,
    )  # fmt: skip
    typer.echo(told)


def score(
    run: RunFolder,
    data: Annotated[
        Path | None, typer.Option(help="Text to measure; by default what was held out.")
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Noisy states, such as sets of hidden tokens, of a window.", min=1)
    ] = 8,
    seed: Seed = 0,
    batch: Batch = None,
    device: Device = None,
    weights: Weights = "ema",
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code that came with a model of others.")
    ] = False,
) -> None:
    """Bound the likelihood of text: nats a token, bits a character, perplexity.

    RUN may also be the folder of a SEDD, MDLM, BD3LM or Duo, or of a masked model that transformers
    loads; texts are then measured in windows as long as it takes, one document each.
    """
    from .filling import scored

    typer.echo(scored(run, data, draws, seed, batch, device, weights, trust))


def judge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Samples, and text to compare with.")
    ],
    model: Annotated[
        Path | None, typer.Option(help="A llama as GGUF; by default the installed SmolLM2.")
    ] = None,
    most: Annotated[int, typer.Option(help="Texts of each file, at most.", min=1)] = 200,
    column: Annotated[str, typer.Option(help="Of rows, where the text is.")] = "text",
) -> None:
    """Perplexity of texts under a language model of others, with their entropy."""
    from .judge import judged

    typer.echo(judged(files, model, most, column))


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    weights: Weights = "ema",
) -> None:
    """Write the model of a run as a folder that `from_pretrained` of transformers loads."""
    from . import exporting

    typer.echo(exporting.export(run, out, weights))


def compress(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text in UTF-8.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new file, such as a.sfz.")],
    calls: Annotated[
        int, typer.Option(help="Calls of the network for 8 windows; more take longer.", min=1)
    ] = 32,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Compress a text without loss, by the model of a run and a range coder."""
    from .packing import packed

    typer.echo(packed(run, file, out, calls, device, weights))


def decompress(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `compress` wrote.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new text.")],
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Turn a compressed text back into what it was."""
    from .packing import unpacked

    typer.echo(unpacked(run, file, out, device, weights))
