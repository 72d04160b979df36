"""How large new items are: as those of the training data, or as asked for."""

from __future__ import annotations

__all__ = ["Sizes"]

import torch
from torch import Tensor, nn

from sfumato import InputError, random
from sfumato.random import Source


class Sizes(nn.Module):
    """The law of the number of nodes, atoms or tokens; it is stored with a model, never learned.

    Args:
        largest: of the sizes, which begin at 1; until `fill` all are alike.
    """

    def __init__(self, largest: int) -> None:
        super().__init__()
        shares = torch.full((largest + 1,), 1 / largest, dtype=torch.float64)
        shares[0] = 0
        self.register_buffer("shares", shares)
        self.shares: Tensor

    def fill(self, sizes: Tensor) -> None:
        """Take the shares of the sizes (N,) of training data, in place."""
        counts = torch.bincount(sizes, minlength=len(self.shares)).double()
        self.shares.copy_(counts / counts.sum())

    @property
    def largest(self) -> int:
        """Of the sizes that are ever drawn."""
        return int(self.shares.nonzero().max())

    def draw(
        self, n: int, generator: Source, asked: Tensor | None = None, *, above: int = 0
    ) -> Tensor:
        """(n,) sizes, long: those that were asked for, or drawn from those above a number.

        Raises:
            InputError: where no size is above it.
        """
        if asked is not None:
            return asked
        if above >= self.largest:
            raise InputError(f"no size above {above} can be drawn, the largest is {self.largest}")
        shares = self.shares.cpu().clone()
        shares[: above + 1] = 0
        drawn: Tensor = random.categorical(shares.expand(n, -1), generator)
        return drawn
