"""The verbs `inpaint`, `outpaint` and `vary`: pictures in files edited by the model of a run."""

from __future__ import annotations

__all__ = ["inpaint", "outpaint", "vary"]

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato_cli.options import Device, Guidance, RunFolder, Sampler, Seed, Steps, Weights

if TYPE_CHECKING:
    from .editing import Edit

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
    steps: Steps = 50,
    seed: Seed = 0,
    guidance: Guidance = None,
    device: Device = None,
    weights: Weights = "ema",
    as_is: AsIs = False,
) -> None:
    """Draw anew what a mask marks in pictures; all other pixels are kept, bit for bit."""
    from .editing import edit
    from .inpaint import inpaint as fill

    def make(one: Edit) -> Any:
        return fill(
            one.model, one.images, one.known, condition=one.condition, sampler=sampler,
            steps=steps or 50, guidance=guidance, seed=seed, first=one.first, watch=one.watch,
        )  # fmt: skip

    facts = _facts(run, "inpaint", words, sampler, steps, seed, guidance)
    pads = (0, 0, 0, 0)
    _say(edit(run, image, mask, pads, n, out, words or (), make, facts, device, weights, as_is))


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
    steps: Steps = 50,
    seed: Seed = 0,
    guidance: Guidance = None,
    device: Device = None,
    weights: Weights = "ema",
    as_is: AsIs = False,
) -> None:
    """Continue pictures beyond their edges; the pixels given are kept, bit for bit."""
    from .editing import edit
    from .inpaint import outpaint as grow

    pads = (left, right, top, bottom)

    def make(one: Edit) -> Any:
        return grow(
            one.model, one.images, left=left, right=right, top=top, bottom=bottom,
            condition=one.condition, sampler=sampler, steps=steps or 50, guidance=guidance,
            seed=seed, first=one.first, watch=one.watch,
        )  # fmt: skip

    facts = _facts(run, "outpaint", words, sampler, steps, seed, guidance)
    facts |= {"left": left, "right": right, "top": top, "bottom": bottom}
    _say(edit(run, image, (), pads, n, out, words or (), make, facts, device, weights, as_is))


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

    def make(one: Edit) -> Any:
        return redraw(
            one.model, one.images, noise, condition=one.condition, sampler=sampler, steps=steps,
            guidance=guidance, seed=seed, first=one.first, watch=one.watch,
        )  # fmt: skip

    facts = _facts(run, "vary", words, sampler, steps, seed, guidance) | {"noise": noise}
    _say(edit(run, image, (), None, n, out, words or (), make, facts, device, weights, as_is))


def _facts(run: Path, verb: str, words: list[str] | None, *options: Any) -> dict[str, Any]:
    names = ("sampler", "steps", "seed", "guidance")
    named = dict(zip(names, options, strict=True))
    return {"run": str(run), "verb": verb, "words": words or [], **named}


def _say(made: tuple[int, Path, Path]) -> None:
    count, out, picture = made
    typer.echo(f"wrote {count} pictures to {out}, and {picture}")
