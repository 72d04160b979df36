"""Complexes that a model of poses shows when it is asked for nothing."""

from __future__ import annotations

__all__ = ["Examples", "sizes_of"]

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

from sfumato import Fields, Ragged, random
from sfumato.state import select

MOST = 64
"""Examples that a model keeps."""

WIDE = {
    "places": 3, "atoms": 2, "bonds": 3, "axes": 2, "moves": 0, "receptor": 3, "kinds": 0,
    "features": 5,
}  # fmt: skip
"""Columns of the ragged parts of a complex, 0 for plain rows."""


def sizes_of(x: Fields) -> dict[str, int]:
    """The largest number of rows of each part, of data that a model is built for."""
    return {name: max(1, int(x["complex"][name].counts.max())) for name in WIDE}


class Examples(nn.Module):
    """Complexes of the training data, stored with a model and never learned.

    Args:
        sizes: see `sizes_of`.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.register_buffer("origin", torch.zeros(MOST, 3))
        for name, wide in WIDE.items():
            shape = (MOST, sizes[name], wide) if wide else (MOST, sizes[name])
            kind = torch.float32 if name in ("places", "receptor") else torch.long
            self.register_buffer(name, torch.zeros(shape, dtype=kind))
            self.register_buffer(f"{name}_rows", torch.ones(MOST, dtype=torch.long))
        self.origin: Tensor

    def fill(self, x: Fields) -> None:
        """Take complexes from all over the data, some twice where there are few, in place."""
        told: Fields = x["complex"]
        some = select(told, torch.arange(MOST) * len(told["origin"]) // MOST)
        self.origin.copy_(some["origin"])
        for name in WIDE:
            part: Ragged = some[name]
            getattr(self, f"{name}_rows").copy_(part.counts)
            getattr(self, name)[part.owner, part.position] = part.data

    def blank(self, n: int, generator: Generator) -> Fields:
        """N of them, their ligands where they were given."""
        index = random.integers(0, MOST, (n,), generator).to(self.origin.device)
        rows: dict[str, Ragged] = {}
        for name in WIDE:
            owner = torch.repeat_interleave(getattr(self, f"{name}_rows")[index])
            place = Ragged(owner, owner, n).position
            rows[name] = Ragged(getattr(self, name)[index][owner, place], owner, n)
        places, axes = rows["places"], rows["axes"]
        total = places.data.new_zeros(n, 3).index_add(0, places.owner, places.data)
        return Fields(
            translation=total / places.counts[:, None],
            rotation=torch.eye(3, device=total.device).repeat(n, 1, 1),
            torsions=Ragged(total.new_zeros(len(axes.data)), axes.owner, n),
            complex=Fields(origin=self.origin[index], **rows),
        )
