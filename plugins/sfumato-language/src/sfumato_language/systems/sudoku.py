"""Sudoku of 6 x 6 and 9 x 9 cells: random grids, a check, and a network that knows rows."""

from __future__ import annotations

__all__ = [
    "CELLS", "DIGITS", "FOUR", "GROUPS", "NINE", "SIX", "Block", "Rules", "SudokuNet", "boards",
    "relations", "small_boards", "solved",
]  # fmt: skip

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import random
from sfumato_nn.layers import SwiGLU


class Rules:
    """What a Sudoku asks for: each digit once in every row, column and box.

    Attributes:
        digits: D, the cells of a box.
        cells: D^2.
        groups: (3, cells) the row, the column and the box of each cell.

    Args:
        high: rows of a box.
        wide: columns of a box.
    """

    def __init__(self, high: int, wide: int) -> None:
        self.digits = high * wide
        self.cells = self.digits**2
        cell = torch.arange(self.cells)
        row, column = cell // self.digits, cell % self.digits
        self.groups = torch.stack((row, column, row // high * high + column // wide))


FOUR, SIX, NINE = Rules(2, 2), Rules(2, 3), Rules(3, 3)
DIGITS, CELLS, GROUPS = SIX.digits, SIX.cells, SIX.groups


def boards(n: int, generator: Generator, rules: Rules = SIX) -> Tensor:
    """(n, cells) solved grids, digits from 0, by a search that tries digits in a random order."""
    orders = random.uniform((n, rules.cells, rules.digits), generator).argsort(-1).tolist()
    groups = rules.groups.t().tolist()
    return torch.tensor([_board(order, groups) for order in orders])


def _board(orders: list[list[int]], groups: list[list[int]]) -> list[int]:
    """One grid, depth first; `orders` (cells, D) are the digits of each cell as they are tried."""
    digits, cells = len(orders[0]), len(orders)
    used = [[0] * digits for _ in range(3)]  # bits of the digits in each row, column and box
    tried, found, cell = [0] * cells, [-1] * cells, 0
    while cell < cells:
        row, column, box = groups[cell]
        if found[cell] >= 0:  # come back to: the digit was a dead end
            for kind, index in enumerate((row, column, box)):
                used[kind][index] ^= 1 << found[cell]
            found[cell] = -1
        taken = used[0][row] | used[1][column] | used[2][box]
        while tried[cell] < digits and taken >> orders[cell][tried[cell]] & 1:
            tried[cell] += 1
        if tried[cell] == digits:
            tried[cell] = 0
            cell -= 1
            continue
        found[cell] = orders[cell][tried[cell]]
        tried[cell] += 1
        for kind, index in enumerate((row, column, box)):
            used[kind][index] |= 1 << found[cell]
        cell += 1
    return found


def small_boards() -> Tensor:
    """(288, 16) all solved grids of 4 x 4 cells in boxes of 2 x 2, digits 0 to 3."""
    rows = torch.tensor(list(itertools.permutations(range(4))))
    bands = torch.cat([a[None].expand(24, 2, 4) for a in torch.stack((rows, rows), 1)])
    bands[:, 1] = rows.repeat(24, 1)
    boxes = bands.reshape(-1, 2, 2, 2).transpose(1, 2).flatten(2)  # (576, 2, 4)
    bands = bands[(boxes.sort(-1).values == torch.arange(4)).all(-1).all(-1)].flatten(1)
    count = len(bands)
    both = torch.cat([bands.repeat_interleave(count, 0), bands.repeat(count, 1)], 1)
    return both[solved(both, FOUR)]


def solved(x: Tensor, rules: Rules = SIX) -> Tensor:
    """(n,) bool: whether each digit is once in every row, column and box of (n, cells)."""
    once = F.one_hot(x, rules.digits).double()
    whole = [
        torch.einsum("nck,cg->ngk", once, F.one_hot(group, rules.digits).double()) == 1
        for group in rules.groups
    ]
    return torch.stack([each.flatten(1).all(1) for each in whole]).all(0)


def relations(rules: Rules = SIX) -> Tensor:
    """(4, C, C) whether two cells share a row, a column, a box, or are the same; float32."""
    groups = rules.groups
    shared = (groups[:, :, None] == groups[:, None]).double()
    own = torch.eye(rules.cells, dtype=torch.float64)[None]
    return torch.cat((shared * (1 - own), own)).float()


class SudokuNet(nn.Module):
    """A transformer over cells whose attention is told which cells share a row, column or box.

    Args:
        width: channels of a cell.
        depth: blocks.
        heads: attention heads.
        rules: of the Sudoku.
    """

    relation: Tensor

    def __init__(
        self, width: int = 96, depth: int = 3, heads: int = 4, *, rules: Rules = SIX
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(rules.digits + 1, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, rules.digits + 1)
        self.register_buffer("relation", relations(rules), persistent=False)

    def forward(self, x: Tensor, clock: Tensor) -> Any:
        """Logits (B, C, D + 1) of ids (B, C), D being the mask; the clock is not looked at."""
        hidden = self.table(x)
        for block in self.blocks:
            hidden = block(hidden, self.relation)
        return self.head(self.norm(hidden))


class Block(nn.Module):
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
