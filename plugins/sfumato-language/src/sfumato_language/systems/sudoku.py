"""Sudoku of 6 x 6 cells in boxes of 2 x 3: random grids, a check, and a network that knows rows."""

from __future__ import annotations

__all__ = ["CELLS", "DIGITS", "SudokuNet", "boards", "solved"]

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import random
from sfumato_nn.layers import SwiGLU

DIGITS, CELLS = 6, 36
_CELL = torch.arange(CELLS)
_ROW, _COLUMN = _CELL // DIGITS, _CELL % DIGITS
_BOX = _ROW // 2 * 2 + _COLUMN // 3
GROUPS = torch.stack((_ROW, _COLUMN, _BOX))
"""(3, 36) the row, the column and the box of each cell."""


def boards(n: int, generator: Generator) -> Tensor:
    """(n, 36) solved grids, digits 0 to 5, by a search that tries digits in a random order."""
    orders = random.uniform((n, CELLS, DIGITS), generator).argsort(-1).tolist()
    groups = GROUPS.t().tolist()
    return torch.tensor([_board(order, groups) for order in orders])


def _board(orders: list[list[int]], groups: list[list[int]]) -> list[int]:
    """One grid, depth first; `orders` (36, 6) are the digits of each cell as they are tried."""
    used = [[0] * DIGITS for _ in range(3)]  # bits of the digits in each row, column and box
    tried, found, cell = [0] * CELLS, [-1] * CELLS, 0
    while cell < CELLS:
        row, column, box = groups[cell]
        if found[cell] >= 0:  # come back to: the digit was a dead end
            for kind, index in enumerate((row, column, box)):
                used[kind][index] ^= 1 << found[cell]
            found[cell] = -1
        taken = used[0][row] | used[1][column] | used[2][box]
        while tried[cell] < DIGITS and taken >> orders[cell][tried[cell]] & 1:
            tried[cell] += 1
        if tried[cell] == DIGITS:
            tried[cell] = 0
            cell -= 1
            continue
        found[cell] = orders[cell][tried[cell]]
        tried[cell] += 1
        for kind, index in enumerate((row, column, box)):
            used[kind][index] |= 1 << found[cell]
        cell += 1
    return found


def solved(x: Tensor) -> Tensor:
    """(n,) bool: whether each digit is once in every row, column and box of (n, 36)."""
    once = F.one_hot(x, DIGITS).double()
    whole = [
        torch.einsum("nck,cg->ngk", once, F.one_hot(group, DIGITS).double()) == 1
        for group in GROUPS
    ]
    return torch.stack([each.flatten(1).all(1) for each in whole]).all(0)


class SudokuNet(nn.Module):
    """A transformer over cells whose attention is told which cells share a row, column or box.

    Args:
        width: channels of a cell.
        depth: blocks.
        heads: attention heads.
    """

    relation: Tensor

    def __init__(self, width: int = 96, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(DIGITS + 1, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, DIGITS + 1)
        shared = (GROUPS[:, :, None] == GROUPS[:, None]).double()
        own = torch.eye(CELLS, dtype=torch.float64)[None]
        relation = torch.cat((shared * (1 - own), own)).float()
        self.register_buffer("relation", relation, persistent=False)  # (4, 36, 36)

    def forward(self, x: Tensor, clock: Tensor) -> Any:
        """Logits (B, 36, 7) of ids (B, 36), 6 being the mask; the clock is not looked at."""
        hidden = self.table(x)
        for block in self.blocks:
            hidden = block(hidden, self.relation)
        return self.head(self.norm(hidden))


class _Block(nn.Module):
    """Attention with a bias for each relation and head, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, 4))
        self.mlp = SwiGLU(width)

    def forward(self, x: Tensor, relation: Tensor) -> Tensor:
        q, k, v = self.inward(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        bias = torch.einsum("hr,rij->hij", self.bias, relation)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias[None]
        )
        x = x + self.outward(mixed.transpose(1, 2).flatten(-2))
        hidden: Tensor = x + self.mlp(self.norm2(x))
        return hidden
