"""The verb `dock`."""

from __future__ import annotations

__all__ = ["dock"]

from pathlib import Path
from typing import Annotated

import typer

from sfumato_cli.options import Device, RunFolder, Seed, Steps, Weights


def dock(
    run: RunFolder,
    receptor: Annotated[Path | None, typer.Option(help="A PDB file.")] = None,
    ligand: Annotated[
        Path | None, typer.Option(help="A file with one molecule: .sdf, .mol2, .smi, ...")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file for the poses: .sdf, .pdb, ...")] = None,
    data: Annotated[
        Path | None, typer.Option(help="A folder of complexes to dock again, and to be measured.")
    ] = None,
    centre: Annotated[
        str | None,
        typer.Option(
            help="x,y,z of the pocket, angstrom; by default where the ligand file has it."
        ),
    ] = None,
    pocket: Annotated[
        float, typer.Option(help="Receptor atoms within so many angstrom are seen.", min=1.0)
    ] = 8.0,
    confidence: Annotated[
        Path | None,
        typer.Option(help="A run of molecules/confidence that ranks the poses, surest first."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Poses of each ligand.", min=1)] = 10,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Dock a ligand to a receptor: poses, those that agree most with the others first.

    With --confidence those come first of which another run is surest.
    """
    from sfumato import InputError
    from sfumato_cli.progress import progress
    from sfumato_cli.writing import check, is_file
    from sfumato_train import open_run

    from .. import writing
    from . import data as complexes
    from . import docking
    from .confidence import judge_of
    from .domain import domain

    opened = open_run(run)
    docking.check(opened)
    alone = receptor is not None and ligand is not None and out is not None and data is None
    if not alone and (data is None or receptor or ligand or centre):
        raise InputError(
            "give --receptor, --ligand and --out, or --data with a folder of complexes"
        )
    if out is not None:
        if not is_file(opened.domain, out):
            raise InputError(f"--out {out}: accepted are {', '.join(domain.suffixes)}")
        check(opened.domain, out)
    judge = None if confidence is None else judge_of(confidence, opened, device=device)
    if data is not None:
        found = complexes.read(data, pocket=pocket, about=opened.about).complexes
    elif centre is None:
        assert receptor is not None and ligand is not None
        found = [complexes.pocket_of(receptor, ligand, pocket=pocket)]
    else:
        assert receptor is not None and ligand is not None
        found = [complexes.pocket(receptor, ligand, _point(centre), radius=pocket)]
    with progress("docking") as watch:
        ranked = docking.dock_all(
            opened, opened.about, found, n, judge, steps=steps, seed=seed, device=device,
            weights=weights, watch=watch,
        )  # fmt: skip
    if out is not None:
        writing.write([pose for poses in ranked for pose in poses], out, explicit=False)
        typer.echo(f"wrote {n} poses of {len(found)} ligand(s) to {out}")
    if data is not None:
        how = "" if judge is None else ", ranked by confidence"
        typer.echo(f"{len(found)} complexes, {n} poses each{how}, against where the ligands are")
        for name, value in docking.successes(found, ranked).items():
            typer.echo(f"  {name:10} {value:.3f}")
        if judge is not None:
            typer.echo(
                "first poses within 2 angstrom, however they are chosen; AUROC of the confidence"
            )
            for name, value in docking.rankings(found, ranked).items():
                typer.echo(f"  {name:14} {value:.3f}")


def _point(text: str) -> tuple[float, float, float]:
    from sfumato import InputError

    try:
        x, y, z = (float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--centre {text!r}: give three numbers with commas: 12.5,3,-8") from None
    return x, y, z
