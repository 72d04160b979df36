"""The desk of the bridges: pairs of items and sources whose denoiser is exact.

Items are of a mixture of ten normals in 16 dimensions (`overview.mixture`), sources are the same
items with normal noise of standard deviation 0.8 added. A sampler goes from fresh sources to items;
what is compared are pairs, so that it matters which item a source leads to.
"""

from __future__ import annotations

__all__ = ["NOISE", "Pairs", "published"]

from typing import TYPE_CHECKING, Any

from .desk import DIMENSIONS
from .overview import mixture

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Process, Sampler

NOISE = 0.8


def published(steps: int) -> Tensor:
    """The grid of Zhou et al. 2023: equal steps in t^(1/7) from 1 - 1e-4 to 1e-4, between 1 and 0.

    (steps + 1,) times.
    """
    import torch

    high, low = (1 - 1e-4) ** (1 / 7), 1e-4 ** (1 / 7)
    inner = torch.linspace(high, low, steps - 1, dtype=torch.float64) ** 7
    end = torch.zeros(1, dtype=torch.float64)
    return torch.cat([1 - end, inner, end])


class Pairs:
    """A mixture and two sets of n pairs, one with sources to start from; functions of a seed.

    Args:
        seed: of everything.
        n: pairs on each side.
        process: a pinned process.
    """

    def __init__(self, seed: int, n: int, process: Process) -> None:
        from sfumato import random
        from sfumato_eval.sliced import SlicedWasserstein
        from sfumato_testing import Corrupted

        self.seed, self.n = seed, n
        self._metric = SlicedWasserstein(directions=128)
        pairs = Corrupted(mixture(seed), NOISE)

        def drawn(name: str) -> tuple[Tensor, Tensor]:
            x0 = pairs.target.sample(n, random.derive(seed, name))
            return x0, pairs.source(x0, random.derive(seed, name, "source"))

        self._data = self._summary(*drawn("data"))
        other, self.source = drawn("other")
        self.floor = self._metric.between(self._summary(other, self.source), self._data).value
        self.process = process.given(source=self.source)
        self.denoise = pairs.denoiser(process).given(source=self.source)

    def _summary(self, x0: Tensor, source: Tensor) -> Any:
        import torch

        from sfumato import Batch

        return self._metric.summary(Batch(torch.cat([x0, source], 1)))

    def end(self, sampler: Sampler, grid: Tensor) -> Tensor:
        """Where a sampler takes the sources, with noise of the seed."""
        from sfumato import random, sample

        x: Tensor = sample(
            self.process,
            self.denoise,
            self.source,
            sampler=sampler,
            grid=grid,
            generator=random.derive(self.seed, "noise"),
        )
        assert x.shape == (self.n, DIMENSIONS)
        return x

    def distance(self, x: Tensor) -> float:
        """Sliced 2-Wasserstein distance of the pairs to others, 128 directions."""
        return self._metric.between(self._summary(x, self.source), self._data).value
