r"""Phase-space bridge: position and velocity steered to the data by the least acceleration.

Chen et al. 2023, arXiv:2310.07805 (AGM). In the time tau = 1 - t left from the prior, dx = v dtau,
dv = F dtau + g dW with g = p t and the optimal control F = (4/t) ((x_0 - x)/t - v) towards x_0,
from x and v that are correlated: variances m and n, covariance -k (m n)^(1/2) (with this sign; the
marginals tell it). Here t is what is left of tau, as everywhere. Without noise x - x_0 is a
combination of t and t^4, so that all laws are in closed form up to one smooth integral.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from sfumato import Can, InputError
from sfumato.laws import Space

from .matrix import combined, paired, right_solve
from .phase import Phase

__all__ = ["AGM", "agm"]

_NODES = 24


class AGM(Phase):
    """q(u_t | x_0) of the controlled motion; a step is the motion itself, pinned at x_0.

    The control is not that of a reference motion conditioned on its end (which would have 5 for 4),
    so that a path says more of x_0 than its last state, and the bound of the steps is loose: there
    is no LIKELIHOOD.

    Args:
        noise: p of g = p t.
        mass: (m, n), variances of x and v at the prior.
        coupling: k, in (-1, 1).
        space: subspace of the noise.

    Raises:
        InputError: for variances or noise that are not positive, or a coupling that is no
            correlation.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE

    def __init__(
        self,
        noise: float = 3.0,
        mass: tuple[float, float] = (1.0, 1.0),
        coupling: float = 0.2,
        space: Space | None = None,
    ) -> None:
        super().__init__(2, space)
        if not (min(noise, *mass) > 0 and -1 < coupling < 1):
            raise InputError(
                f"AGM takes positive noise and mass and a coupling in (-1, 1), not {noise}, "
                f"{mass} and {coupling}"
            )
        self.noise, self.mass, self.coupling = noise, mass, coupling

    def extra_repr(self) -> str:
        return f"noise={self.noise}, mass={self.mass}, coupling={self.coupling}"

    def _start(self) -> Tensor:
        """The lower factor of the covariance at the prior."""
        m, n = (value**0.5 for value in self.mass)
        k = self.coupling
        return torch.tensor([[m, 0.0], [-k * n, n * (1 - k * k) ** 0.5]], dtype=torch.float64)

    def direction(self, t: Tensor) -> Tensor:
        """A / (1 - t)."""
        return torch.stack([(1 - t) * (t * t + 2 * t + 3) / 3, 4 / 3 * (1 + t + t * t)], -1)

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(t)
        spread = self._motion(one, t) @ self._start().to(t)
        factor = combined(spread, self._impulses(one, t))
        return (1 - t)[..., None] * self.direction(t), factor

    def step(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t, s = paired(t, s)
        rest = (s == t)[..., None]
        start = torch.where(t > 0, t, 1.0)
        gone, ratio = (start - s) / start, s / start
        data = torch.stack(
            [
                gone.square() * (ratio * ratio + 2 * ratio + 3) / 3,
                4 / (3 * start) * gone * (1 + ratio + ratio * ratio),
            ],
            -1,
        )
        eye = torch.eye(2, dtype=t.dtype, device=t.device)
        keep = torch.where(rest[..., None], eye, self._motion(start, s))
        impulses = torch.where(rest[..., None], 0.0, self._impulses(start, s))
        factor = combined(torch.zeros_like(keep), impulses)
        return torch.where(rest, 0.0, data), keep, factor

    def flow(self, t: Tensor) -> tuple[Tensor, Tensor]:
        a, factor = self.moments(t)
        half = torch.zeros_like(factor)
        half[..., 1, 1] = 0.5 * (self.noise * t).square()
        pull = right_solve(right_solve(half, factor.mT, upper=True), factor)
        zero = torch.zeros_like(t)
        drift = torch.stack([zero, -torch.ones_like(t), 4 / t.square(), 4 / t], -1)
        data = torch.stack([zero, -4 / t.square()], -1)
        return data + (pull @ a[..., None])[..., 0], _square(drift) - pull

    def _motion(self, t: Tensor, s: Tensor) -> Tensor:
        """(..., 2, 2) what becomes of (x - x_0, v) from t to s without noise."""
        ratio = s / t
        cube = ratio**3
        rows = [
            (4 * ratio - ratio * cube) / 3,
            s / 3 * (1 - cube),
            -4 / (3 * t) * (1 - cube),
            (4 * cube - 1) / 3,
        ]
        return _square(torch.stack(rows, -1))

    def _impulses(self, t: Tensor, s: Tensor) -> Tensor:
        """(..., 2, nodes) a root of the covariance gained from t to s.

        The noise at time r moves (x, v) at s by ((s - s^4/r^3)/3, (4 s^3/r^3 - 1)/3). Where s > t/2
        the integral of the squares is Gauss's rule; below, where the integrand has a boundary layer
        at s, it is that of r^2, 1/r and r^-4 in closed form, which cancels for short steps alone.
        """
        short = s > 0.5 * t
        near = self._by_rule(t, torch.where(short, s, t))
        far = self._by_modes(t, torch.where(short, 0.25 * t, s))
        far = torch.nn.functional.pad(far, (0, _NODES - 2))
        return torch.where(short[..., None, None], near, far)

    def _by_rule(self, t: Tensor, s: Tensor) -> Tensor:
        places, weights = (value.to(t) for value in _gauss())
        gone = (t - s)[..., None] * places
        s = s[..., None]
        r = s + gone
        first = s / 3 * gone * (r * r + r * s + s * s) / r**3  # (s - s^4/r^3)/3, not cancelling
        size = self.noise * r * (weights * (t[..., None] - s)).clamp_min(0).sqrt()
        return torch.stack([first * size, (4 * (s / r) ** 3 - 1) / 3 * size], -2)

    def _by_modes(self, t: Tensor, s: Tensor) -> Tensor:
        """X - x_0 = s (c + m), v = -c - 4 m, with c and m almost independent when s << t."""
        some = torch.where(s > 0, s, 1.0)
        cube = (s / t) ** 3
        slow = self.noise * (t**3 * (1 - cube) / 27).sqrt()
        cross = -(self.noise**2) * s**3 * torch.log(t / some) / 9 / slow
        fast = self.noise**2 * s**3 * (1 - cube) / 27 - cross.square()
        zero = torch.zeros_like(s)
        fast = fast.clamp_min(0).sqrt()
        modes = _square(torch.stack([slow, zero, cross, fast], -1))
        frame = torch.stack([s, s, -torch.ones_like(s), torch.full_like(s, -4)], -1)
        return _square(frame) @ modes


def _square(rows: Tensor) -> Tensor:
    """(..., 4) as (..., 2, 2)."""
    return rows.reshape(*rows.shape[:-1], 2, 2)


@functools.lru_cache
def _gauss() -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss's rule on [0, 1]."""
    places, weights = np.polynomial.legendre.leggauss(_NODES)
    with torch.inference_mode(False):  # what is kept must serve gradients later
        return torch.tensor(0.5 * places + 0.5), torch.tensor(0.5 * weights)


def agm() -> AGM:
    """`AGM()` with the constants of the release: p = 3, m = n = 1, k = 0.2."""
    return AGM()
