"""How many nodes new graphs have: as those of the training data, or as asked for."""

from __future__ import annotations

__all__ = ["Sizes"]

import torch
from torch import Generator, Tensor, nn

from sfumato import Dataset, Fields, random
from sfumato_data import gather

from .state import blank


class Sizes(nn.Module):
    """The law of the number of nodes; it is stored with a model, and never learned.

    Args:
        largest: nodes of the largest graph; until `fill` all sizes are alike.
    """

    def __init__(self, largest: int) -> None:
        super().__init__()
        shares = torch.full((largest + 1,), 1 / largest, dtype=torch.float64)
        shares[0] = 0
        self.register_buffer("shares", shares)
        self.shares: Tensor

    def fill(self, data: Dataset) -> None:
        """Take the shares of the sizes in training data, in place."""
        sizes = gather(data).x["nodes"].mask.sum(1)
        counts = torch.bincount(sizes, minlength=len(self.shares)).double()
        self.shares.copy_(counts / counts.sum())

    def blank(self, n: int, generator: Generator, nodes: Tensor | None = None) -> Fields:
        """N graphs to be filled: of the numbers of nodes (n,) asked for, or drawn."""
        if nodes is None:
            nodes = random.categorical(self.shares.expand(n, -1).cpu(), generator)
        return blank(nodes)
