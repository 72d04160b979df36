"""The verbs `scaffold` and `conformers`."""

from __future__ import annotations

__all__ = ["conformers", "scaffold"]

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato_cli.options import Device, RunFolder, Sampler, Seed, Steps, Weights

if TYPE_CHECKING:
    from sfumato import Batch

Out = Annotated[
    Path | None,
    typer.Option(
        help="A file: .sdf, .xyz, .mol2, or a folder; by default one in the run that is named "
        "after the verb."
    ),
]


def scaffold(
    run: RunFolder,
    sdf: Annotated[Path, typer.Option("--sdf", help="A file with the known part.")],
    out: Out = None,
    attach: Annotated[
        str | None,
        typer.Option(help="Atoms of the part, from 1, that the rest is bonded to: 3 or 3,5."),
    ] = None,
    atoms: Annotated[
        str | None, typer.Option(help="Atoms of the whole molecules: 20 or 18..24.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Molecules to draw.", min=1)] = 20,
    sampler: Sampler = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Draw molecules around a known part, or link several: its atoms, places and bonds stay."""
    from sfumato import InputError
    from sfumato_cli.making import make
    from sfumato_cli.writing import check
    from sfumato_train import open_run

    from . import files
    from . import scaffold as around

    opened, out = open_run(run), out or run / "scaffold"
    check(opened.domain, out)
    found = files.read(sdf, files.Reading(fragments="keep")).molecules
    if len(found) != 1:
        raise InputError(f"{sdf} holds {len(found)} molecules; give one, of one or several parts")
    asked = {"atoms": atoms} if atoms is not None else {}
    sizes = opened.domain.condition(asked, n, opened.about).get("atoms")
    places = None if attach is None else around.numbers(attach)

    def draw(**options: Any) -> Batch:
        return around.scaffold(opened, found[0], n, attach=places, atoms=sizes, **options)

    told = {"sdf": str(sdf), "attach": attach, "atoms": atoms, "n": n}
    make(
        opened, out, f"{n} molecules", told, draw,
        sampler=sampler, steps=steps, seed=seed, device=device, weights=weights,
    )  # fmt: skip


def conformers(
    run: RunFolder,
    smiles: Annotated[str, typer.Option(help="The molecule; missing hydrogens are added.")],
    out: Out = None,
    n: Annotated[int, typer.Option("-n", help="Shapes to draw.", min=1)] = 10,
    sampler: Sampler = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Draw shapes of a molecule whose bonds are known."""
    from sfumato_cli.making import make
    from sfumato_cli.writing import check
    from sfumato_train import open_run

    from . import conformers as shapes

    opened, out = open_run(run), out or run / "conformers"
    check(opened.domain, out)
    molecule = shapes.of_smiles(smiles)

    def draw(**options: Any) -> Batch:
        return shapes.conformers(opened, molecule, n, **options)

    make(
        opened, out, f"{n} conformers of {smiles}", {"smiles": smiles, "n": n}, draw,
        sampler=sampler, steps=steps, seed=seed, device=device, weights=weights,
    )  # fmt: skip
