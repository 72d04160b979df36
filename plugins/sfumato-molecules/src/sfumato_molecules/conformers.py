"""Shapes of molecules whose bonds are known."""

from __future__ import annotations

__all__ = ["conformers", "of_smiles"]

from typing import Any

import torch

from sfumato import Batch, Fields, InputError, Ragged
from sfumato_train import Run, draw

from .bonds import fragments
from .molecule import Molecule
from .process import ConformerProcess
from .state import classes_of, pair_orders


def of_smiles(text: str) -> Molecule:
    """The molecule of a SMILES, hydrogens added.

    Raises:
        InputError: if it is none, and why, or it is of several molecules.
    """
    from .formats import FORMATS, Record

    molecule = FORMATS[".smi"].parse(Record(1, text, kind="smiles"), text, "add")
    if (parts := int(fragments(molecule).max()) + 1) > 1:
        raise InputError(f"{text} is {parts} molecules; shapes are of one")
    return molecule


def conformers(run: Run, molecule: Molecule, n: int, **options: Any) -> Batch:
    """Draw n shapes of a molecule.

    Args:
        run: of the recipe `molecules/conformers`.
        molecule: its atoms, hydrogens included, and bonds.
        n: how many.
        options: of `sfumato_train.draw`: sampler, steps, seed and so on.

    Raises:
        InputError: if the run makes no conformers, or the molecule has atoms or a size that it was
            not trained on.
    """
    model = run.model(options.get("weights", "ema"), device="cpu")
    if not isinstance(model.process, ConformerProcess):
        raise InputError(f"{run.path} makes no conformers; train molecules/conformers for that")
    if len(molecule) > run.about["largest"]:
        raise InputError(
            f"{molecule.source} has {len(molecule)} atoms, but the model was trained on molecules "
            f"of at most {run.about['largest']}"
        )
    columns = [
        torch.from_numpy(f) for f in (classes_of(molecule, run.about), pair_orders(molecule))
    ]
    atoms, bonds = (
        Ragged(rows.repeat(n), torch.arange(n).repeat_interleave(len(rows)), n) for rows in columns
    )
    places = Ragged(torch.zeros(len(atoms.data), 3), atoms.owner, n)
    return draw(run, n, like=Fields(positions=places, atoms=atoms, bonds=bonds), **options)
