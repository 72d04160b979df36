"""A data set of molecules in memory, and the facts of it that a model is built from."""

from __future__ import annotations

__all__ = ["Molecules", "dataset", "molecules_of_file"]

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, InputError

from . import chem, files
from .components import demo_path
from .measures import computed
from .molecule import Molecule
from .schema import schema
from .state import classes_of, graph_of, points_of

LISTED = 20
"""Records left out that are kept in the facts, with where and why."""


@dataclass(frozen=True, eq=False)
class Molecules:
    """A data set of molecules, and the facts that they share, see `schema`.

    Attributes:
        molecules: the items.
        about: the facts.
        test: which of them are the test part that the data comes with; None: it has none.
    """

    molecules: Sequence[Molecule]
    about: Mapping[str, Any]
    test: Sequence[int] | None = None

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.molecules)

    def batch(self, index: Sequence[int]) -> Batch:
        """The molecules at `index` as a state, with the conditions that the facts name."""
        chosen = [self.molecules[i] for i in index]
        made = points_of if self.about["dimensions"] == 3 else graph_of
        return Batch(made(chosen, self.about), self._conditions(chosen))

    def _conditions(self, chosen: Sequence[Molecule]) -> dict[str, Tensor]:
        return {
            name: torch.tensor([float(m.properties[name]) for m in chosen])
            for name in self.about["conditions"]
        }

    def sizes(self) -> Sequence[int] | None:
        """Atoms of each molecule, where batches are padded: those of graphs are, points not."""
        return None if self.about["dimensions"] == 3 else [len(m) for m in self.molecules]

    @cached_property
    def _keys(self) -> list[str]:
        return [chem.key(molecule) for molecule in self.molecules]

    def keys(self) -> Sequence[str]:
        """One key for molecules of the same bonds: the first block of the InChIKey.

        A split puts conformers and stereoisomers on one side, so that what is held out was not
        seen.
        """
        return self._keys

    def test_part(self) -> Sequence[int] | None:
        """The test part that the data comes with."""
        return self.test


def molecules_of_file(
    path: Path,
    *,
    dimensions: int | None = None,
    conditions: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
    **reading: Any,
) -> Molecules:
    """Molecules of a file or folder as a data set.

    Records that are left out are told to the log, by where and why; but for those of the demo,
    which nobody can mend. A folder with files `train...` and `test...`, such as the benchmark MOSES
    has, has a test part of its own.

    Args:
        path: see `files.read`.
        dimensions: 3, of places, or 2, of bonds; None: 3 where all have places.
        conditions: properties that models are told, of the file or of `measures.COMPUTED`.
        about: facts of other data that these have to fit; None: made from these.
        reading: the fields of `files.Reading`.

    Raises:
        InputError: as `files.read` and `schema` do; for molecules that do not fit the facts.
    """
    found = files.read(Path(path), files.Reading(**reading))
    if found.rejected and Path(path) != demo_path():
        logging.getLogger(__name__).warning("%s: %s", path, files.told(found.rejected))
    made = dataset(found.molecules, dimensions=dimensions, conditions=conditions, about=about)
    facts = {**made.about, "skipped": _skipped(found)} if about is None else made.about
    return replace(made, about=facts, test=_test(found))


def dataset(
    molecules: Sequence[Molecule],
    *,
    dimensions: int | None = None,
    conditions: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> Molecules:
    """Molecules at hand as a data set; `chem.from_rdkit` and `chem.from_ase` make them.

    Args:
        molecules: the items.
        dimensions: see `molecules_of_file`.
        conditions: see `molecules_of_file`.
        about: see `molecules_of_file`.

    Raises:
        InputError: as `schema` does; for molecules that do not fit the facts.
    """
    names = tuple(conditions if about is None else about["conditions"])
    made = [_with(molecule, names) for molecule in molecules]
    if about is None:
        return Molecules(made, schema(made, dimensions, names))
    for molecule in made:
        _fits(molecule, about)
    return Molecules(made, about)


def _with(molecule: Molecule, names: Sequence[str]) -> Molecule:
    """The molecule with properties that can be computed."""
    missing = [name for name in names if not isinstance(molecule.properties.get(name), float)]
    if not missing:
        return molecule
    return replace(molecule, properties={**molecule.properties, **computed(molecule, missing)})


def _fits(molecule: Molecule, about: Mapping[str, Any]) -> None:
    """Raise `InputError` for a molecule that a model of data with these facts cannot be shown."""
    classes_of(molecule, about)
    if about["dimensions"] == 3 and molecule.positions is None:
        raise InputError(f"{molecule.source} has no coordinates, which a model in space needs")
    if len(molecule) > about["largest"]:
        raise InputError(
            f"{molecule.source} has {len(molecule)} atoms; the largest known has {about['largest']}"
        )


def _skipped(found: files.Found) -> dict[str, Any]:
    """How many records were left out, and of the first ones where and why."""
    first = [f"{r.where}: {r.reason}" for r in found.rejected[:LISTED]]
    return {"rejected": len(found.rejected), "passed over": found.passed, "first": first}


def _test(found: files.Found) -> Sequence[int] | None:
    """The molecules of the files `test...`, where there are files `train...` beside."""
    if not any(name.startswith("train") for name, _ in found.ends):
        return None
    test: list[int] = []
    before = 0
    for name, end in found.ends:
        if name.startswith("test"):
            test += range(before, end)
        before = end
    return test or None
