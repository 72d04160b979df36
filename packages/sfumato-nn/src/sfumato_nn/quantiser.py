"""Vector quantisation: the nearest of K learned vectors in place of each vector."""

from __future__ import annotations

__all__ = ["Quantiser"]

import torch
from torch import Tensor, nn

from sfumato import random
from sfumato.errors import InputError
from sfumato.random import Source

_DEAD = 0.03  # share of the average use below which a code is given up


class Quantiser(nn.Module):
    """K codes that follow the means of the vectors they stand for.

    With n_k vectors of a batch nearest to code k, and s_k their sum,
    N_k <- g N_k + (1 - g) n_k, m_k <- g m_k + (1 - g) s_k, e_k = m_k / N_k
    (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1). A code that is hardly used, at first
    every code, starts again at a vector of the batch (Dhariwal et al. 2020, arXiv:2005.00341, 3.1).

    Args:
        count: number of codes K.
        width: length of a vector.
        decay: g.

    Raises:
        InputError: if there is no code, or the decay lies outside (0, 1).
    """

    codes: Tensor
    used: Tensor
    total: Tensor

    def __init__(self, count: int, width: int, decay: float = 0.99) -> None:
        super().__init__()
        if count < 1 or width < 1 or not 0 < decay < 1:
            raise InputError(
                "a quantiser needs at least one code of at least one number and a decay in (0, 1), "
                f"got {count}, {width} and {decay}"
            )
        self.decay = decay
        self.register_buffer("codes", torch.zeros(count, width))
        self.register_buffer("used", torch.zeros(count))  # N
        self.register_buffer("total", torch.zeros(count, width))  # m

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes of z (B, width, *space), and which they are (B, *space).

        The gradient goes straight through: that of the result is that of z.
        """
        vectors = z.detach().movedim(1, -1)
        # |z - e|^2 without the |z|^2 that all codes share
        far = self.codes.square().sum(1) - 2 * vectors @ self.codes.T
        ids = far.argmin(-1)
        return self.vectors(ids) + (z - z.detach()), ids

    def vectors(self, ids: Tensor) -> Tensor:
        """(B, width, *space) the codes of ids (B, *space)."""
        return self.codes[ids].movedim(-1, 1)

    @torch.no_grad()
    def observe(self, z: Tensor, ids: Tensor, generator: Source) -> None:
        """Let the codes follow vectors z (B, width, *space) whose nearest codes are `ids`."""
        rows, index = z.movedim(1, -1).flatten(0, -2), ids.flatten()
        count = torch.bincount(index, minlength=len(self.codes)).to(rows)
        total = torch.zeros_like(self.total).index_add_(0, index, rows)
        self.used.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        mean = self.used.mean()
        dead = self.used < _DEAD * mean
        chosen = _chosen(len(rows), len(dead), generator).to(rows.device)
        self.used.copy_(torch.where(dead, mean, self.used))
        self.total.copy_(torch.where(dead[:, None], rows[chosen] * mean, self.total))
        self.codes.copy_(self.total / self.used[:, None])

    def perplexity(self, ids: Tensor) -> Tensor:
        """() exp of the entropy of how often each code is used: the number of codes in use."""
        share = torch.bincount(ids.flatten(), minlength=len(self.codes)).double() / ids.numel()
        entropy: Tensor = torch.special.entr(share).sum()
        return entropy.exp()


def _chosen(rows: int, count: int, generator: Source) -> Tensor:
    """Which rows codes start again at."""
    source = generator if isinstance(generator, torch.Generator) else generator[0]
    return random.integers(0, rows, (count,), source)
