"""Pairs of data and sources whose denoiser is known, under pinned processes."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Generator, Tensor

from sfumato import Denoiser, Posterior, Process, expand, random
from sfumato.state import items, select

from .gaussian import DiagonalMixture, FullMixture

__all__ = ["Corrupted"]


class Corrupted:
    """Items of a mixture, each with a source: itself with normal noise added.

    Under x_t = a source + b x_0 + c eps an item is seen twice, as x_0 + std n and as (x_t - a
    source)/b = x_0 + c/b eps. Both together are one observation of precision std^-2 + (b/c)^2, for
    which the mixture has its posterior.

    Args:
        target: law of the data.
        std: of the noise of the sources, per number; infinite: they tell nothing.
    """

    def __init__(self, target: DiagonalMixture | FullMixture, std: float = math.inf) -> None:
        self.target, self.std = target, std

    def source(self, x0: Any, generator: Generator) -> Any:
        """Sources of items, by a finite std."""
        return x0 + random.normal(x0, generator) * self.std

    def denoiser(self, process: Process) -> Denoiser:
        """The exact denoiser; it is to be given the source, and `process` needs `shares`."""
        return _Exact(self, process)

    def data(self, process: Process, source: Any) -> Callable[[int, Generator], Any]:
        """Draws of x_0 given the sources in turn, for `Case.data`."""
        return functools.partial(self._drawn, process, source)

    def _drawn(self, process: Process, source: Any, n: int, generator: Generator) -> Any:
        source = select(source, torch.arange(n) % items(source))
        end = torch.ones((), dtype=torch.float64)
        return self.denoiser(process).given(source=source)(source, end).sample(generator)


class _Exact(Denoiser):
    def __init__(self, pairs: Corrupted, process: Process) -> None:
        super().__init__()
        self.pairs, self.process, self._source = pairs, process, None

    def given(self, **condition: Any) -> Self:
        view = copy.copy(self)
        view._source = condition["source"]
        return view

    def forward(self, x: Any, t: Any) -> Posterior:
        process: Any = self.process
        source = self._source
        a, b, c = process.shares(t)
        sharp = torch.where(c > 0, c, torch.inf).reciprocal()  # at the source nothing else is seen
        told = self.pairs.std**-2
        root = ((b * sharp).square() + told).sqrt()
        weight = 1 / torch.where(root > 0, root, 1.0)
        seen = (x - source * expand(x, a)) * expand(x, b * sharp.square() * weight)
        seen = seen + source * expand(x, told * weight)
        level: Any = _Level(root)
        found: Posterior = self.pairs.target.denoiser(level)(seen, t)
        return found


class _Level:
    """The coefficients of one observation, root x_0 + eps."""

    def __init__(self, root: Tensor) -> None:
        self.root = root

    def alpha(self, t: Tensor) -> Tensor:
        return self.root

    def sigma(self, t: Tensor) -> Tensor:
        return torch.ones_like(self.root)
