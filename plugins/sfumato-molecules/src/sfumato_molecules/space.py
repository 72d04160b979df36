"""Models of molecules in space: what they begin with, and the unit that they work in.

Their state is that of `state.points_of`: `Fields(positions, atoms, bonds)` of `Ragged` rows, where
`bonds` are the orders of all unordered pairs of the atoms of a molecule, 0 for none, in the order
(0, 1), (0, 2), (1, 2), (0, 3), ... of `sfumato_nn.equivariant.pairs`.
"""

from __future__ import annotations

__all__ = ["ORDERS", "Placed", "blank"]

from typing import Any

import torch
from torch import Tensor, nn

from sfumato import Fields, InputError, Ragged
from sfumato.random import Source
from sfumato.state import item_sum
from sfumato_methods.gaussian import Centred

ORDERS = 4
"""Classes of a pair: no bond, single, double, triple."""


def blank(sizes: Tensor) -> Fields:
    """Molecules of so many atoms (B,), all at 0, all of the first class, without bonds.

    Raises:
        InputError: for a molecule without atoms.
    """
    if bool((sizes < 1).any()):
        raise InputError(f"a molecule has at least one atom, but {int(sizes.min())} were asked for")
    atoms, bonds = (torch.repeat_interleave(n) for n in (sizes, sizes * (sizes - 1) // 2))
    count = len(sizes)
    return Fields(
        positions=Ragged(torch.zeros(len(atoms), 3), atoms, count),
        atoms=Ragged(torch.zeros_like(atoms), atoms, count),
        bonds=Ragged(torch.zeros_like(bonds), bonds, count),
    )


class Placed(nn.Module):
    """A codec from angstrom to places of unit variance; atoms and bonds stay what they are."""

    exact: float | None = 1e-5

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.scale: Tensor

    def fill(self, x: Fields) -> None:
        """Take the spread of training data as the unit, in place."""
        places: Ragged = x["positions"]
        square = item_sum(places * places).double().sum()
        if square > 0:
            self.scale.copy_((square / Centred().dims(places).sum()).sqrt())

    def encode(self, x: Any, generator: Source) -> Fields:
        return self.layout(x)

    def decode(self, z: Any) -> Fields:
        return Fields({**z, "positions": z["positions"] * self.scale.to(z["positions"].data)})

    def layout(self, like: Any) -> Fields:
        places = Centred().project(like["positions"]) / self.scale.to(like["positions"].data)
        return Fields({**like, "positions": places})

    def mask(self, m: Any) -> Any:
        return m
