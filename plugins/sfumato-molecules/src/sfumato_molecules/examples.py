"""Molecules that a model of conformers shows when it is asked for nothing."""

from __future__ import annotations

__all__ = ["Examples"]

import torch
from torch import Generator, Tensor, nn

from sfumato import Fields, Ragged, random
from sfumato.state import select

MOST = 256
"""Examples that a model keeps."""


class Examples(nn.Module):
    """Molecules of the training data without places, for samples that are asked for nothing.

    They are stored with a model, and never learned.

    Args:
        largest: atoms of the largest molecule.
    """

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.register_buffer("sizes", torch.ones(MOST, dtype=torch.long))
        self.register_buffer("atoms", torch.zeros(MOST, largest, dtype=torch.uint8))
        pairs = largest * (largest - 1) // 2
        self.register_buffer("bonds", torch.zeros(MOST, pairs, dtype=torch.uint8))
        self.sizes: Tensor
        self.atoms: Tensor
        self.bonds: Tensor

    def fill(self, x: Fields) -> None:
        """Take molecules from all over the data, some twice where there are few, in place."""
        count = x["atoms"].items
        chosen = select(x, torch.arange(MOST) * count // MOST)
        self.sizes.copy_(chosen["atoms"].counts)
        for name in ("atoms", "bonds"):
            part: Ragged = chosen[name]
            getattr(self, name)[part.owner, part.position] = part.data.to(torch.uint8)

    def blank(self, n: int, generator: Generator) -> Fields:
        """N of them, their atoms all at 0."""
        index = random.integers(0, MOST, (n,), generator).to(self.sizes.device)
        sizes = self.sizes[index]
        atoms, bonds = (torch.repeat_interleave(k) for k in (sizes, sizes * (sizes - 1) // 2))
        rows = [Ragged(owner, owner, n).position for owner in (atoms, bonds)]
        return Fields(
            positions=Ragged(torch.zeros(len(atoms), 3), atoms, n),
            atoms=Ragged(self.atoms[index][atoms, rows[0]].long(), atoms, n),
            bonds=Ragged(self.bonds[index][bonds, rows[1]].long(), bonds, n),
        )
