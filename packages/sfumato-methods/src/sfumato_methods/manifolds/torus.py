r"""Angles under the wrapped normal law, such as the torsions of a molecule.

    p(x | x_0) = sum over k of N(x - x_0 + 2 pi k; 0, sigma^2)

(Jing et al. 2022, arXiv:2206.01729, section 3.1). A normal path on the line, wrapped, is the one
on the circle; given both ends of the latter, the number of turns k is drawn, and the rest is the
bridge of the line. So every law here is exact.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Dirac, Implicit, Law, Mixture, Process, expand, random
from sfumato.random import Source
from sfumato.state import Time, apply, item_sum, where

from ..gaussian.process import one_clock
from .tangent import TINY, Manifold, Step, Tangent, radii

__all__ = ["Torus", "wrapped"]

TURNS = 4
"""Turns to either side that count: for sigma up to pi the rest weighs less than 1e-10."""
CIRCLE = 2 * math.pi


def wrapped(angle: Tensor) -> Tensor:
    """The same angle within [-pi, pi]; one that lies there stays as it is, bit for bit."""
    return angle - CIRCLE * (angle / CIRCLE).round()


class WrappedNormal(Law):
    """Independent wrapped normals.

    Args:
        mean: state of angles.
        std: sigma, from `expand`; 0 for no noise.
    """

    __slots__ = ("mean", "std")

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = mean, std

    def sample(self, generator: Source) -> Any:
        moved = self.mean + random.normal(self.mean, generator) * self.std
        return apply(moved, wrapped)

    def nll(self, x: Any) -> Tensor:
        return item_sum(apply(x - self.mean, lambda gap, s: -_log_density(gap, s), self.std))


class UniformAngles(Law):
    """All angles alike; `like` carries the layout."""

    __slots__ = ("like",)

    def __init__(self, like: Any) -> None:
        self.like = like

    def sample(self, generator: Source) -> Any:
        normal = random.normal(self.like, generator)
        return apply(normal, lambda z: CIRCLE * (torch.special.ndtr(z) - 0.5))

    def nll(self, x: Any) -> Tensor:
        return item_sum(apply(x, lambda v: torch.full_like(v, math.log(CIRCLE))))


class Torus(Manifold):
    """Angles in radians, each on its circle: see the module. States may have any shape.

    A posterior in points (`Dirac`, `Mixture`, `Implicit`) is bridged exactly, in any number of
    steps; a `Tangent` by steps of the reverse SDE.

    Args:
        sigma_min: radians, as published (Corso et al. 2022, DiffDock, arXiv:2210.01776).
        sigma_max: radians; at 3.14 the law is uniform but for 0.7 %.
    """

    can = Can.STEP | Can.BRIDGE | Can.SCORE
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Mixture, Implicit, Tangent)

    def __init__(self, sigma_min: float = 0.03, sigma_max: float = 3.14) -> None:
        super().__init__(sigma_min, sigma_max)

    def prior(self, like: Any) -> UniformAngles:
        return UniformAngles(like)

    def marginal(self, x0: Any, t: Time) -> WrappedNormal:
        return WrappedNormal(x0, expand(x0, self.sigma(t)))

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Step | None = None) -> Law:
        before, after = self.sigma(t), self.sigma(s)
        ratio = (after / torch.where(before > 0, before, 1.0)).square().clamp(max=1)
        std, share, rest = (
            expand(x, after * (1 - ratio).sqrt()),
            expand(x, ratio),
            one_clock(s) == one_clock(t),
        )

        def drawn(generator: Source) -> Any:
            way = apply(x, _turned, x0, self._picked(x0, x, before, generator))
            noise = random.normal(x, generator) * std
            got = apply(x0 + way * share + noise, wrapped)
            return where(expand(x, rest), x, got)

        return Implicit(drawn)

    def _picked(self, x0: Any, x: Any, sigma: Tensor, generator: Source) -> Any:
        """Which of the turns from x_0 to x was made."""
        width = expand(x, torch.where(sigma > 0, sigma, 1.0))

        def weights(v: Tensor, u: Tensor, width: Tensor) -> Tensor:
            return _logits(wrapped(v - u), width.double()).softmax(-1)

        return random.categorical(apply(x, weights, x0, width), generator)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Step | None = None) -> Law:
        if isinstance(q, Tangent):
            return super().transition(q, x, t, s, row)
        return Process.transition(self, q, x, t, s, row)

    def slope(self, x0: Any, x: Any, t: Time) -> Any:
        sigma = expand(x, self.sigma(t).clamp_min(TINY))
        return apply(x - x0, lambda gap, s: _slope(gap, s).to(gap), sigma)

    def sizes(self, sigma: Tensor) -> Tensor:
        angle = radii(sigma)
        density = _log_density(angle, sigma[..., None]).exp()
        square = density * _slope(angle, sigma[..., None]).square()
        return (torch.trapezoid(square, angle) / torch.trapezoid(density, angle)).sqrt()

    def move(self, x: Any, v: Any) -> Any:
        return apply(x + v, wrapped)


def _logits(gap: Tensor, sigma: Tensor) -> Tensor:
    """(..., 9) log weight of each number of turns, up to what they share."""
    return -0.5 * (_ways(gap) / sigma[..., None]).square()


def _ways(gap: Tensor) -> Tensor:
    """(..., 9) the gap with each number of turns."""
    turns = torch.arange(-TURNS, TURNS + 1, dtype=torch.float64, device=gap.device)
    return gap.double()[..., None] + CIRCLE * turns


def _turned(x: Tensor, x0: Tensor, pick: Tensor) -> Tensor:
    return _ways(wrapped(x - x0)).gather(-1, pick[..., None])[..., 0].to(x)


def _log_density(gap: Tensor, sigma: Tensor) -> Tensor:
    sigma = sigma.double()
    logits = _logits(wrapped(gap), sigma.expand(gap.shape))
    return logits.logsumexp(-1) - sigma.log() - 0.5 * math.log(CIRCLE)


def _slope(gap: Tensor, sigma: Tensor) -> Tensor:
    """Derivative of the log density, float64."""
    near, sigma = wrapped(gap), sigma.double()
    weight = _logits(near, sigma.expand(gap.shape)).softmax(-1)
    return -(weight * _ways(near)).sum(-1) / sigma.square()
