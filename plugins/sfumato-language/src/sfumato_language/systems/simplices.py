"""What the trial on the simplex needs: networks over points, and the denoiser of a chain."""

from __future__ import annotations

__all__ = ["BoardNet", "Informed", "StrandNet", "pair", "walked"]

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Categorical, Sampler, Trial, random, sample
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time
from sfumato_data import Tensors
from sfumato_methods.discrete import Discrete, TokenDenoiser, uniform
from sfumato_methods.simplex import Simplex, SimplexDenoiser
from sfumato_nn.embed import ClockEmbedding
from sfumato_nn.layers import zeroed
from sfumato_train import Denoising
from sfumato_train.runs import fresh
from sfumato_train.times import between

from .fitting import trained
from .sudoku import FOUR, Block, relations

_GAIN = 8.0
LEAST = 0.03
"""Least time of training; below it places are all but sure of themselves."""


class Informed(TokenDenoiser):
    """Of a chain that replaces tokens, as `SimplexDenoiser` is of points.

    The network is shown the posterior of each place by itself, and says what the others tell.
    """

    def forward(self, x: Any, t: Time) -> Categorical:
        assert isinstance(t, Tensor)
        seen = self.process.kernel.columns(x, torch.zeros_like(t), t).log()
        return Categorical(logits=self.output(seen.softmax(-1), t).double() + seen)


def _scaled(x: Tensor) -> Tensor:
    """Points (B, L, K) of a simplex, about 0 and of unit scale."""
    classes: int = x.shape[-1]
    return (x - 1 / classes) * math.sqrt(classes)


class BoardNet(nn.Module):
    """Cells of a Sudoku of 4 x 4 to logits; `SudokuNet` for noise that needs a clock.

    Each head begins with a relation of its own to look at: a row, a column, a box, the cell itself.
    """

    relation: Tensor

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.inward = nn.Linear(4, width)
        self.clock = ClockEmbedding(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = zeroed(nn.Linear(width, 4))
        self.register_buffer("relation", relations(FOUR), persistent=False)
        with torch.no_grad():  # a head for each relation, to begin with
            for block in self.blocks:
                assert isinstance(block, Block)
                block.bias.add_(3 * torch.eye(4)[torch.arange(heads) % 4])

    def forward(self, x: Tensor, clock: Tensor) -> Any:
        """Logits (B, 16, 4) of points (B, 16, 4)."""
        hidden = self.inward(_scaled(x)) + self.clock(clock)[:, None]
        for block in self.blocks:
            hidden = block(hidden, self.relation)
        return self.head(self.norm(hidden))


class StrandNet(nn.Module):
    """Bases of a strand to logits: residual dilated convolutions, each told a track of the strand.

    Args:
        width: channels of a base.
        dilations: of the layers, each over five places.
    """

    def __init__(self, width: int, dilations: tuple[int, ...] = (1, 2, 1)) -> None:
        super().__init__()
        self.inward = nn.Conv1d(4, width, 9, padding=4)
        self.track = nn.Conv1d(1, width, 17, padding=8)
        self.clock = ClockEmbedding(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in dilations)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in dilations
        )
        self.head = zeroed(nn.Conv1d(width, 4, 1))

    def forward(self, x: Tensor, clock: Tensor, track: Tensor) -> Any:
        """Logits (B, L, 4) of points (B, L, 4), for a track (B, L) that is mostly 0."""
        told = self.track(_GAIN * track[:, None].to(x))
        hidden = self.inward(_scaled(x).mT) + told
        told = told + self.clock(clock)[..., None]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            hidden = hidden + F.gelu(layer(norm(hidden.mT).mT + told))
        return self.head(hidden).mT


def pair(
    make: Callable[[], nn.Module],
    classes: int,
    data: Tensors,
    given: Trial,
    *,
    name: str,
    steps: int,
    batch: int,
    lr: float,
) -> Mapping[str, Any]:
    """Two denoisers, `simplex` and `uniform`, with equal networks, data, steps and seeds.

    Both are trained by cross-entropy at uniform times; their processes keep 1 - t of the data.
    """
    points, chain = Simplex(classes), Discrete(uniform(classes))
    denoisers: dict[str, NetworkDenoiser] = {
        "simplex": SimplexDenoiser(fresh(given.seed, make), points),
        "uniform": Informed(fresh(given.seed, make), chain),
    }
    found = {}
    for kind, denoiser in denoisers.items():
        objective: Any = Denoising(denoiser.process, denoiser, times=between(LEAST), dropout=0.0)
        found[kind] = trained(
            objective, data.x, given, name=f"{name}-{kind}", steps=steps, batch=batch, lr=lr,
            condition=data.condition,
        )  # fmt: skip
    return found


def walked(
    denoiser: Any, sampler: Sampler, like: Tensor, steps: int, seed: int, **condition: Tensor
) -> Tensor:
    """Samples like `like` (n, L) in equal steps of time."""
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    told = denoiser.given(**condition) if condition else denoiser
    drawn: Tensor = sample(
        denoiser.process, told, like,
        sampler=sampler, grid=grid, generator=random.derive(seed, "sampling"),
    )  # fmt: skip
    return drawn
