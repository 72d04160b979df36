"""The molecules of a batch, each looked at once whatever is measured of it."""

from __future__ import annotations

__all__ = ["Looked", "Looking", "shares", "tabled"]

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from sfumato import Batch
from sfumato_eval import Vectors

from . import bonds, chem
from .molecule import Molecule
from .state import molecules_of


@dataclass(frozen=True, eq=False)
class Looked:
    """One molecule, and what RDKit makes of it.

    Attributes:
        molecule: as the model made it.
        explicit: whether all hydrogens should be atoms.
    """

    molecule: Molecule
    explicit: bool

    @cached_property
    def parts(self) -> Any:
        """(n,) the connected part of each atom."""
        return bonds.fragments(self.molecule)

    @property
    def connected(self) -> bool:
        """Whether it is one molecule."""
        return len(self.molecule) > 0 and int(self.parts.max()) == 0

    @cached_property
    def whole(self) -> Any | None:
        """The RDKit molecule where all of it is valid: accepted, without radicals; else None."""
        return chem.valid(self.molecule, explicit=self.explicit)

    @cached_property
    def largest(self) -> Any | None:
        """The largest part where it is valid with hydrogens filled up to the valences, or None."""
        if not len(self.molecule):
            return None
        part = self.molecule
        if not self.connected:
            part = bonds.part(part, int(np.bincount(self.parts).argmax()))
        return chem.sanitised(part, explicit=False)

    @property
    def good(self) -> Any | None:
        """The RDKit molecule where it is one valid molecule, or None."""
        return self.whole if self.connected else None


class Looking:
    """Looks at a batch once when several metrics ask one by one.

    Args:
        about: facts of the data.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = about
        self._last: tuple[weakref.ref[Batch], list[Looked]] | None = None

    def __call__(self, batch: Batch) -> list[Looked]:
        """The molecules of a batch."""
        if self._last is None or self._last[0]() is not batch:
            found = molecules_of(batch.x, self.about)
            made = [Looked(molecule, bool(self.about["hydrogens"])) for molecule in found]
            self._last = weakref.ref(batch), made
        return self._last[1]


def tabled(values: Iterable[Iterable[float]], width: int) -> Vectors:
    """A summary of a row of numbers for each molecule."""
    found = torch.tensor([list(row) for row in values], dtype=torch.float64).reshape(-1, width)
    return Vectors.of(found, width)


def shares(found: Vectors, names: Sequence[str]) -> dict[str, float]:
    """The means of the columns, by name."""
    return dict(zip(names, found.rows.mean(0).tolist(), strict=True))
