"""The desk of the samplers: mixtures of ten normals in 16 dimensions with their exact denoiser.

Half of the axes have standard deviation 0.15, half 0.45 (`overview.mixture`). Noise levels are
sigma/alpha under `edm`, sigma from 80; what is measured is a sampler and nothing else.
"""

from __future__ import annotations

__all__ = ["DIMENSIONS", "Desk"]

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .overview import WIDTHS, mixture

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Sampler

DIMENSIONS = len(WIDTHS)


class Desk:
    """A mixture, n starts and n draws of the data, all functions of a seed.

    Args:
        seed: of everything.
        n: items on each side.
    """

    def __init__(self, seed: int, n: int) -> None:
        import torch

        from sfumato import Batch, random
        from sfumato_eval.sliced import SlicedWasserstein
        from sfumato_methods.gaussian import edm

        self.seed, self.n = seed, n
        self.process, self.target = edm(), mixture(seed)
        self.denoise = self.target.denoiser(self.process)
        like = torch.empty(n, DIMENSIONS, dtype=torch.float64)
        self.start = self.process.prior(like).sample(random.derive(seed, "start"))
        self._metric = SlicedWasserstein(directions=128)
        self._data, other = (
            self._metric.summary(Batch(self.target.sample(n, random.derive(seed, name))))
            for name in ("data", "other")
        )
        self.floor = self._metric.between(other, self._data).value

    def grid(self, steps: int) -> Tensor:
        """Karras et al. 2022: sigma from 80 to 0.002 with rho = 7, then a step to 0."""
        from sfumato_methods.grids import karras

        return karras(self.process, steps)

    def end(
        self,
        sampler: Sampler,
        grid: Tensor,
        start: Any = None,
        denoise: Callable[[Any, Any], Any] | None = None,
    ) -> Any:
        """Where a sampler ends, from the starts of the desk or others, with noise of the seed."""
        import torch

        from sfumato import random, run

        x = self.start if start is None else start
        noise = random.derive(self.seed, "noise")
        with torch.inference_mode():
            for frame in run(sampler, self.process, denoise or self.denoise, x, grid, noise):
                x = frame.after
        return x

    def distance(self, x: Tensor) -> float:
        """Sliced 2-Wasserstein distance to the data, 128 directions."""
        from sfumato import Batch

        return self._metric.between(self._metric.summary(Batch(x.clone())), self._data).value

    def solution(self) -> Tensor:
        """The probability flow from the starts, by Heun's method in 400 steps."""
        from sfumato_methods.solvers import ChurnHeun

        x: Tensor = self.end(ChurnHeun(0.0), self.grid(400))
        return x
