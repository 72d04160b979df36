"""The verbs `molecule-statistics` and `relax`."""

from __future__ import annotations

__all__ = ["relax", "statistics"]

from pathlib import Path
from typing import Annotated

import typer

Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first record that is wrong.")]
Source = Annotated[Path, typer.Option("--data", help="A file or folder of molecules.")]


def statistics(
    data: Source,
    out: Annotated[Path | None, typer.Option(help="Also write all numbers here, as JSON.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a table, the column with SMILES.")] = None,
    most: Annotated[
        int | None, typer.Option(help="Records taken of a file, spread evenly.")
    ] = None,
    strict: Strict = False,
) -> None:
    """Tell what molecules are in files: elements, charges, sizes, lengths of bonds, properties."""
    from sfumato_train.files import write_json

    from . import files, schema

    how = files.Reading(strict=strict, column=column, most=most, fragments="keep", valences=False)
    found = files.read(data, how)
    facts = schema.statistics(found.molecules)
    typer.echo(schema.tables(facts))
    if found.rejected:
        many = "record was" if len(found.rejected) == 1 else "records were"
        typer.echo(f"\n{len(found.rejected):,} {many} left out:")
        for record in found.rejected:
            typer.echo(f"  {record.where}: {record.reason}")
    if out is not None:
        write_json(out, facts)


def relax(
    data: Source,
    out: Annotated[Path, typer.Option(help="A file: .sdf, .xyz, .mol2, ...")],
    method: Annotated[str, typer.Option(help="mmff, or xtb with the extra xtb.")] = "mmff",
    steps: Annotated[int, typer.Option(help="Of the optimiser, at most.", min=1)] = 500,
    strict: Strict = False,
) -> None:
    """Bring molecules to the minimum of energy nearby; the energies are written with them."""
    from dataclasses import replace

    from sfumato import InputError

    from . import files, relaxing, writing

    if method not in ("mmff", "xtb"):
        raise InputError(f"there is no method {method!r}; accepted are mmff and xtb")
    writing.check(out)
    found = files.read(data, files.Reading(strict=strict))
    made, strains = [], []
    for molecule in found.molecules:
        try:
            got = relaxing.relax(molecule, "xtb" if method == "xtb" else "mmff", steps)
        except InputError as error:
            if strict or "install" in str(error):
                raise
            typer.echo(f"left out: {error}")
            continue
        told = {f"{method}_before": round(got.before, 4), f"{method}_after": round(got.after, 4)}
        made.append(replace(got.molecule, properties={**molecule.properties, **told}))
        strains.append(got.strain)
    if not made:
        raise InputError(f"none of {len(found.molecules)} molecules could be relaxed")
    writing.write(made, out)
    middle = sorted(strains)[len(strains) // 2]
    typer.echo(f"wrote {len(made)} molecules to {out}; median strain {middle:.1f} kcal/mol")
