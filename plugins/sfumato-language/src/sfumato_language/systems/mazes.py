"""Mazes in which one way leads from any cell to any other, and the ways as sequences of cells."""

from __future__ import annotations

__all__ = ["Maze", "leads"]

import torch
from torch import Generator, Tensor

from sfumato import Padded, random
from sfumato.errors import InputError


class Maze:
    """A random spanning tree of a square grid of cells.

    Walls between neighbours fall in a random order, each unless its sides are joined already
    (Kruskal's algorithm).

    Attributes:
        open: (C, C) bool, whether one steps from a cell to another; C = side^2.
        onward: (C, C) long, the next cell on the way from a cell (row) to a target (column).
        steps: (C, C) long, how many steps that way has.

    Args:
        side: cells of an edge, at least 2.
        generator: source of the order.
    """

    def __init__(self, side: int, generator: Generator) -> None:
        if side < 2:
            raise InputError(f"a maze has two cells along an edge or more, not {side}")
        count = side * side
        cell = torch.arange(count).view(side, side)
        across = torch.stack((cell[:, :-1].flatten(), cell[:, 1:].flatten()), 1)
        down = torch.stack((cell[:-1].flatten(), cell[1:].flatten()), 1)
        walls = torch.cat((across, down))
        part = torch.arange(count)  # which cells are joined
        self.open = torch.zeros(count, count, dtype=torch.bool)
        for a, b in walls[random.permutation(len(walls), generator)].tolist():
            if part[a] != part[b]:
                self.open[a, b] = self.open[b, a] = True
                part[part == part[b]] = part[a].clone()
        self.steps = torch.full((count, count), -1).fill_diagonal_(0)
        self.onward = torch.arange(count)[:, None].expand(count, count).clone()
        for distance in range(1, count):
            reached = self.steps == distance - 1  # (cell, target)
            new = ((self.open.double() @ reached.double()) > 0) & (self.steps < 0)
            self.steps[new] = distance
            cell, target = new.nonzero(as_tuple=True)
            beside = self.open[cell] & reached[:, target].T
            self.onward[cell, target] = beside.long().argmax(1)

    def ways(self, start: Tensor, end: Tensor, length: int) -> Padded:
        """The ways from `start` to `end` (n,), both ends included, as Padded ids (n, length)."""
        cells = [start]
        for _ in range(length - 1):
            cells.append(self.onward[cells[-1], end])
        count = self.steps[start, end] + 1
        if int(count.max()) > length:
            raise InputError(f"a way of {int(count.max())} cells does not fit into {length}")
        return Padded(torch.stack(cells, 1), torch.arange(length) < count[:, None])


def leads(maze: Maze, x: Padded, goals: Tensor) -> Tensor:
    """(n,) bool: which texts are walks through the maze from goal to goal.

    Each step goes through an opening, the first and the last cell are the first and the last goal,
    and the others are passed in their order.

    Args:
        maze: the maze.
        x: Padded ids of cells (n, M), at the front.
        goals: (n, G) cells.
    """
    count, cells = x.mask.sum(1), x.data.masked_fill(~x.mask, 0)
    steps = maze.open[cells[:, :-1], cells[:, 1:]] | ~x.mask[:, 1:]
    last = cells.gather(1, (count - 1).clamp_min(0)[:, None])[:, 0]
    right = steps.all(1) & (count > 0) & (cells[:, 0] == goals[:, 0]) & (last == goals[:, -1])
    place = torch.full_like(count, -1)
    index = torch.arange(cells.shape[1])
    for goal in goals.unbind(1):
        later = (cells == goal[:, None]) & x.mask & (index > place[:, None])
        right &= later.any(1)
        place = later.long().argmax(1)
    return right
