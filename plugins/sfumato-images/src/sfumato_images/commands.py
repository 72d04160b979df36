"""The verbs `inpaint`, `outpaint` and `vary`: pictures in files edited by the model of a run."""

from __future__ import annotations

__all__ = ["inpaint", "outpaint", "vary"]

from pathlib import Path
from typing import Annotated, Any

import typer

from sfumato_cli.options import Device, Guidance, RunFolder, Sampler, Seed, Steps, Weights

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="condition=value", help="What to draw: label=3, prompt='a red heart'."),
]
Images = Annotated[
    list[Path], typer.Option("--image", help="A picture or a folder of them; may be repeated.")
]
Variants = Annotated[int, typer.Option("-n", help="Results for each picture.", min=1)]
Out = Annotated[Path, typer.Option(help="A folder to write; beside it one picture shows all.")]
AsIs = Annotated[bool, typer.Option("--as-is", help="Leave pictures in the size that they have.")]
Count = Annotated[int, typer.Option("--steps", help="Steps of the sampler.", min=1)]
Pixels = Annotated[int, typer.Option(help="Pixels to add on this side.", min=0)]


def inpaint(
    run: RunFolder,
    image: Images,
    mask: Annotated[
        list[Path],
        typer.Option("--mask", help="White is drawn, black kept; one for all or one for each."),
    ],
    out: Out,
    words: Words = None,
    n: Variants = 1,
    sampler: Sampler = None,
    steps: Count = 50,
    seed: Seed = 0,
    guidance: Guidance = None,
    device: Device = None,
    weights: Weights = "ema",
    as_is: AsIs = False,
) -> None:
    """Draw anew what a mask marks in pictures; all other pixels are kept, bit for bit."""
    from .editing import edit
    from .inpaint import inpaint as fill

    options = {"sampler": sampler, "steps": steps, "seed": seed, "guidance": guidance}
    told = edit(
        "inpaint", run, image, out, fill, options, {}, n=n, words=words or (), masks=mask,
        pads=(0, 0, 0, 0), device=device, weights=weights, as_is=as_is,
    )  # fmt: skip
    typer.echo(told)


def outpaint(
    run: RunFolder,
    image: Images,
    out: Out,
    words: Words = None,
    left: Pixels = 0,
    right: Pixels = 0,
    top: Pixels = 0,
    bottom: Pixels = 0,
    n: Variants = 1,
    sampler: Sampler = None,
    steps: Count = 50,
    seed: Seed = 0,
    guidance: Guidance = None,
    device: Device = None,
    weights: Weights = "ema",
    as_is: AsIs = False,
) -> None:
    """Continue pictures beyond their edges; the pixels given are kept, bit for bit."""
    from .editing import edit
    from .inpaint import outpaint as grow

    added = {"left": left, "right": right, "top": top, "bottom": bottom}

    def make(model: Any, x: Any, known: Any, **rest: Any) -> Any:
        return grow(model, x, **added, **rest)

    options = {"sampler": sampler, "steps": steps, "seed": seed, "guidance": guidance}
    told = edit(
        "outpaint", run, image, out, make, options, added, n=n, words=words or (),
        pads=(left, right, top, bottom), device=device, weights=weights, as_is=as_is,
    )  # fmt: skip
    typer.echo(told)


def vary(
    run: RunFolder,
    image: Images,
    noise: Annotated[
        float,
        typer.Option(help="Share of the steps: 0 keeps the picture, 1 forgets it.", min=0, max=1),
    ],
    out: Out,
    words: Words = None,
    n: Variants = 1,
    sampler: Sampler = None,
    steps: Steps = None,
    seed: Seed = 0,
    guidance: Guidance = None,
    device: Device = None,
    weights: Weights = "ema",
    as_is: AsIs = False,
) -> None:
    """Draw pictures anew from a level of noise: image to image."""
    from .editing import edit
    from .vary import vary as redraw

    def make(model: Any, x: Any, known: Any, **rest: Any) -> Any:
        return redraw(model, x, noise, **rest)

    options = {"sampler": sampler, "steps": steps, "seed": seed, "guidance": guidance}
    told = edit(
        "vary", run, image, out, make, options, {"noise": noise}, n=n, words=words or (),
        device=device, weights=weights, as_is=as_is,
    )  # fmt: skip
    typer.echo(told)
