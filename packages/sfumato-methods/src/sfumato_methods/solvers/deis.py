r"""DEIS: Adams-Bashforth on the noise prediction, in time or in rho = sigma/alpha.

With v = x/alpha the probability flow is dv/drho = eps (Zhang & Chen 2022, arXiv:2204.13902, prop.
3), so that x_s = alpha_s/alpha_t x_t + alpha_s \int eps drho. The noise is interpolated by a
polynomial through its last values: in the time t ("tAB"), in rho ("rhoAB"), or with the weights of
equal steps whatever the steps are ("iPNDM"). In log(rho) it is `ExponentialAB(predict="noise")`;
their Runge-Kutta methods in rho are `RhoRK`.
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

from .affine import Combination, Steps, exponential, noise_columns
from .exponential import corrections

__all__ = ["IPNDM", "RhoAB", "TimeAB", "rho_steps"]

_POINTS = 64  # of Gauss-Legendre quadrature: 1e-12 for smooth schedules


def rho_steps(process: Any, grid: Tensor) -> Steps:
    """The steps of a grid in rho = sigma/alpha, finite down to t = 0."""
    fixed = grid.detach()
    alpha, sigma = process.alpha(fixed), process.sigma(fixed)
    finite, inner = alpha > 0, (alpha > 0) & (sigma > 0)
    safe = torch.where(inner, grid, 0.5)
    rho = torch.where(inner, process.sigma(safe) / process.alpha(safe), 0.0)
    return Steps.of(grid, rho, finite)


@dataclass(frozen=True)
class _AdamsBashforth(Combination):
    """What the three have in common.

    Steps from t = 0, and from or to an end where alpha is 0, are of first order.

    Args:
        degree: of the polynomial, 0 (DDIM) to 3; the order of convergence is one more.
    """

    degree: int = 3

    def __post_init__(self) -> None:
        if self.degree not in range(4):
            raise InputError(f"{type(self).__name__}: degree must be 0 to 3, but is {self.degree}")

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.degree + 1

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        steps = rho_steps(process, grid)
        noisy = process.sigma(grid[:-1].detach()) > 0  # at t = 0 there is no noise to predict
        steps = steps._replace(usable=steps.usable & noisy)
        scale = process.alpha(grid[1:]) * torch.where(steps.usable, steps.h, 0.0)
        weights = self._weights(process, grid, steps, scale)
        return rows(grid, *noise_columns(process, grid, keep, data, weights))

    def _weights(self, process: Any, grid: Tensor, steps: Steps, scale: Tensor) -> list[Tensor]:
        """Weights of the noise beyond DDIM; `scale` is alpha_s (rho_s - rho_t)."""
        raise NotImplementedError


class RhoAB(_AdamsBashforth):
    """rhoAB: the polynomial is in rho, and its integrals are those of 1, u, u^2, u^3.

    Zhang & Chen 2022, arXiv:2204.13902, eq. 17. Known as LMS elsewhere.
    """

    def _weights(self, process: Any, grid: Tensor, steps: Steps, scale: Tensor) -> list[Tensor]:
        depth = steps.depth(self.degree)
        powers = [scale / (k + 1) for k in range(self.degree + 1)]
        return corrections(powers, steps.nodes(self.degree, depth), depth)


class TimeAB(_AdamsBashforth):
    """tAB: the polynomial is in the time t; integrated by quadrature, once for each grid.

    Zhang & Chen 2022, arXiv:2204.13902, eq. 15, as an integral over rho, which has no singular end.
    """

    def _weights(self, process: Any, grid: Tensor, steps: Steps, scale: Tensor) -> list[Tensor]:
        depth = steps.depth(self.degree)
        moved = grid[1:] != grid[:-1]
        length = torch.where(moved, grid.diff(dim=0), 1.0)
        clock = Steps(grid, length, steps.usable)
        nodes, masses = np.polynomial.legendre.leggauss(_POINTS)
        share = torch.as_tensor(0.5 + 0.5 * nodes).to(grid).reshape(-1, *(1 for _ in grid.shape))
        mass = torch.as_tensor(0.5 * masses).to(share).reshape(share.shape)
        rho = steps.at[:-1] + share * torch.where(steps.usable, steps.h, 0.0)
        safe = torch.where(steps.usable, rho, 1.0)
        u = (process.time(-2 * safe.log()) - grid[:-1]) / length
        powers = [scale * (mass * u**k).sum(0) for k in range(self.degree + 1)]
        return corrections(powers, clock.nodes(self.degree, depth), depth)


class IPNDM(_AdamsBashforth):
    """iPNDM: the weights of equal steps, 3/2 and -1/2, and so on, whatever the steps are.

    Zhang & Chen 2022, arXiv:2204.13902, section 3.4, after Liu et al. 2022 (arXiv:2202.09778),
    without their Runge-Kutta start. Of first order on other than equal steps in rho.
    """

    def _weights(self, process: Any, grid: Tensor, steps: Steps, scale: Tensor) -> list[Tensor]:
        depth = steps.depth(self.degree)
        nodes = [torch.full_like(scale, float(-j)) for j in range(self.degree + 1)]
        powers = [scale / (k + 1) for k in range(self.degree + 1)]
        return corrections(powers, nodes, depth)
