r"""A predictor-corrector whose polynomials are regular at both ends of the noise.

With the angle phi = atan(sigma / (S alpha)) and w = alpha/sigma the probability flow is

    x_s = sigma_s/sigma_t x_t + sigma_s \int x_0(phi) dw

(Lu et al. 2022, arXiv:2211.01095, eq. 9, its integral in another variable). What is predicted is
near x_0(1) + a w at much noise, where phi = pi/2 - S w, and bends with sigma/alpha at little, where
phi = sigma / (S alpha): in phi it is close to a polynomial at either end, while log-SNR runs off to
infinity at both. So a step much longer, in log-SNR, than those before it does not magnify errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato import InputError
from sfumato.process import rows

from .affine import Combination, Steps, earlier, exponential, scales
from .exponential import corrections

__all__ = ["Angular"]

_POINTS = 40  # of Gauss-Legendre quadrature in asinh(S w): 1e-13 even for one step from end to end


@dataclass(frozen=True)
class Angular(Combination):
    """Predict with the last p values; with the next one, correct the step that led to it.

    Predictor and corrector are polynomials in the angle through p values each: the last p, and the
    new one with the p - 1 before it. The new value is predicted at the uncorrected state, so that
    each step makes exactly one call; the state that arrives at the end is not corrected. (Adams
    predictor and corrector; UniPC, Zhao et al. 2023, arXiv:2302.04867, arranges calls so, in
    log-SNR.) A step to t = 0 returns the posterior mean.

    Args:
        order: p, 2 to 4, the order of convergence.
        scale: S, the noise level sigma/alpha in the middle of the angles.
    """

    order: int = 3
    scale: float = 3.2

    def __post_init__(self) -> None:
        if self.order not in (2, 3, 4):
            raise InputError(f"Angular: order must be 2, 3 or 4, but is {self.order}")
        if not 0 < self.scale < float("inf"):
            raise InputError(f"Angular: scale must be positive and finite, but is {self.scale}")

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order + 1

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        steps, scaled = self._angles(process, grid)
        depth = steps.depth(self.order - 1)
        nodes = steps.nodes(self.order - 1, depth)
        powers = self._powers(process, grid, steps, scaled)
        powers[0] = data  # which is exact at the ends, too
        predictor = corrections(powers, nodes, depth)
        predictor[0] = predictor[0] + data
        reach = torch.clamp(depth + 1, max=self.order - 1)
        ends = [torch.ones_like(keep), *nodes[: self.order - 1]]
        corrector = corrections(powers, ends, reach)
        corrector[0] = corrector[0] + data

        last = [*corrector[1:], torch.zeros_like(keep)]
        change = [corrector[0], *(c - p for c, p in zip(last, predictor, strict=True))]
        change = [torch.where(steps.usable, c, 0.0) for c in change]
        carry = torch.where(steps.usable, keep, 0.0)
        weights = [
            p + carry * earlier(c, 1)
            for p, c in zip([*predictor, torch.zeros_like(keep)], change, strict=True)
        ]
        return rows(grid, keep, *weights)

    def _angles(self, process: Any, grid: Tensor) -> tuple[Steps, Tensor]:
        """The steps of a grid in the angle, and S w at its points (0 where there is no noise)."""
        noisy = process.sigma(grid.detach()) > 0
        alpha, sigma = scales(process, grid)
        scaled = torch.where(noisy, self.scale * alpha / torch.where(noisy, sigma, 1.0), 0.0)
        return Steps.of(grid, 0.5 * torch.pi - scaled.atan(), noisy), scaled

    def _powers(self, process: Any, grid: Tensor, steps: Steps, scaled: Tensor) -> list[Tensor]:
        r"""\sigma_s \int u^k dw, k = 0 to p - 1, where u = (phi - phi_t) / (phi_s - phi_t).

        S w = sinh(v): a variable that is finite at w = 0 and spreads what is at little noise.
        """
        points, masses = np.polynomial.legendre.leggauss(_POINTS)
        shape = (-1,) + (1,) * grid.ndim
        at = torch.as_tensor(0.5 + 0.5 * points).to(grid).reshape(shape)
        mass = torch.as_tensor(0.5 * masses).to(grid).reshape(shape)
        v = scaled.asinh()
        span = v.diff(dim=0)
        inner = (v[:-1] + at * span).sinh()
        u = (0.5 * torch.pi - inner.atan() - steps.at[:-1]) / steps.h
        front = scales(process, grid)[1][1:] * span / self.scale
        density = mass * (1 + inner.square()).sqrt()
        return [front * (density * u**k).sum(0) for k in range(self.order)]
