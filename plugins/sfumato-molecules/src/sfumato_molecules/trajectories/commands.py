"""The verb `simulate`."""

from __future__ import annotations

__all__ = ["simulate"]

from pathlib import Path
from typing import Annotated

import typer

from sfumato_cli.options import Seed


def simulate(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="charged, spring, gravity, or a SMILES.")
    ],
    out: Annotated[Path, typer.Option(help="A file: .npz, .csv; of a molecule also .xyz.")],
    n: Annotated[int, typer.Option("-n", help="Systems of points.", min=1)] = 1000,
    frames: Annotated[int, typer.Option(help="Of each.", min=2)] = 30,
    every: Annotated[int, typer.Option(help="Of a molecule, steps of 0.5 fs a frame.")] = 5,
    temperature: Annotated[float, typer.Option(help="Of a molecule, kelvin.")] = 500.0,
    seed: Seed = 0,
) -> None:
    """Make trajectories: systems of points, or one run of a molecule by GFN2-xTB (extra xtb)."""
    from sfumato_cli.progress import progress

    from . import files, nbody

    if what in nbody.KINDS:
        tracks, unit, interval = nbody.simulate(what, n, seed, frames), "", nbody.INTERVAL
        features = [nbody.KINDS[what][1]]
    else:
        from .dynamics import STEP, begun, dynamics

        with progress("simulating") as watch:
            track, features = dynamics(
                begun(what, seed), frames, every=every, temperature=temperature, seed=seed,
                watch=watch,
            )  # fmt: skip
        tracks, unit, interval = [track], "angstrom", every * STEP / 1000
    files.save(tracks, out, features, unit, interval)
    typer.echo(f"wrote {len(tracks)} x {frames} frames to {out}")
