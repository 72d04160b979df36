r"""Brownian motion on a compact group, and its reversal along tangent vectors.

Data x_0 are spread by the heat kernel p_t(x | x_0) of variance sigma(t)^2, until they are uniform.
Close by this is x_0 moved by a normal vector; the reverse of it moves x by tangent vectors, so that
a state never leaves its space (De Bortoli et al. 2022, arXiv:2202.02763). With the score
s = grad log p_t(x) a step from t to s is

    x_s = move(x_t, (sigma_t^2 - k sigma_t) s + v^(1/2) z),    k = (sigma_s^2 - v)^(1/2),

v = eta^2 sigma_s^2 (1 - sigma_s^2/sigma_t^2), z standard normal: in flat space this is DDIM, and
the bridge for eta = 1. On the group it follows the reverse SDE (eta = 1) or the probability flow
(eta = 0) as steps grow short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato import (
    Can,
    Dirac,
    Implicit,
    InputError,
    Law,
    Mixture,
    Posterior,
    Process,
    Unsupported,
    expand,
    random,
)
from sfumato.process import Noised, rows
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, item_count, item_sum, where

from ..gaussian import VE
from ..gaussian.process import one_clock
from ..parts import EachPart

__all__ = ["Geodesic", "Manifold", "Step", "Tangent", "radii"]

POINTS, REACH = 513, 10.0
"""Points of a table of angles, which goes as far as so many sigma, and at most to pi."""

WIDEST = 3.15
"""Radians: the largest sigma for which the sums over turns are cut where nothing is lost."""
LEVELS = 257
"""Entries of the table of sizes, which begins at sigma_min over this."""
TINY = 1e-6
"""Radians: what stands for sigma = 0 where one divides."""


class Tangent(Posterior):
    """What is known of x_0 through the score of x_t alone, as a network tells it.

    Args:
        direction: the score over its root mean square (`Manifold.size`): tangent vectors at x_t
            whose numbers are of order 1. `Manifold.draw` has their target.
    """

    __slots__ = ("direction",)

    def __init__(self, direction: Any) -> None:
        self.direction = direction

    def loss(self, target: Any) -> Tensor:
        """(B,) mean square of the error; an item without numbers has 0."""
        error = self.direction - target
        return item_sum(error * error) / item_count(error).clamp_min(1)


class Step(NamedTuple):
    """Coefficients of a step: x_s = move(x, gain * score + std * z)."""

    gain: Any
    std: Any
    size: Any  # root mean square of the score at t
    last: Any  # s = 0
    rest: Any  # s = t


class Manifold(Process):
    """Base of processes whose states move along tangent vectors.

    Subclasses write the four methods below `step`. The noise is `VE`: sigma^2 = sigma_min^2
    ((sigma_max/sigma_min)^(2t) - 1). Posteriors are points (`Dirac`, a `Mixture` of them), whose
    score is known, or a `Tangent`.

    Args:
        sigma_min: radians.
        sigma_max: radians; the larger, the closer to uniform is the end.

    Raises:
        InputError: if sigma_max is larger than 3.15, or not larger than sigma_min > 0.
    """

    can = Can.STEP
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Mixture, Tangent)

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        if sigma_max > WIDEST:
            raise InputError(f"sigma_max is in radians, at most {WIDEST}, but is {sigma_max}")
        self.schedule = VE(sigma_min, sigma_max)
        low, high = math.log(sigma_min / LEVELS), math.log(sigma_max)
        levels = torch.linspace(low, high, LEVELS, dtype=torch.float64)
        sizes = (self.sizes(levels.exp()) * levels.exp()).log()
        self.register_buffer("_sizes", sizes, persistent=False)
        self._sizes: Tensor

    def extra_repr(self) -> str:
        return f"{self.schedule.sigma_min}, {self.schedule.sigma_max}"

    def sigma(self, t: Time) -> Tensor:
        """Root of the variance of the heat kernel, radians, float64."""
        return self.schedule.sigma(one_clock(t))

    def draw(self, x0: Any, t: Time, generator: Source) -> Noised:
        """A noisy state, and the direction of its score: what `Tangent` is trained on."""
        x = self.marginal(x0, t).sample(generator)
        slope = self.slope(x0, x, t)
        return Noised(x, slope * expand(slope, 1 / self.size(t)))

    def plan(self, grid: Time) -> Sequence[Step]:
        return self.steps(grid, 1.0)

    def steps(self, grid: Time, eta: float) -> Sequence[Step]:
        """The coefficients of each step of a grid, see the module."""
        times = one_clock(grid)
        row = self._step(times[:-1], times[1:], eta)
        return [Step(*each) for each in rows(times, *row)]

    def _step(self, t: Time, s: Time, eta: float = 1.0) -> Step:
        t, s = one_clock(t), one_clock(s)
        before, after = self.sigma(t), self.sigma(s)
        ratio = (after / torch.where(before > 0, before, 1.0)).clamp(max=1)
        var = (eta * after).square() * (1 - ratio.square())
        gain = before.square() - before * (after.square() - var).clamp_min(0).sqrt()
        return Step(gain, var.sqrt(), self.size(t), s == 0, s == t)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Step | None = None) -> Law:
        step = row or self._step(t, s)
        return Implicit(lambda generator: self.step(q, x, t, step, generator))

    def step(self, q: Any, x: Any, t: Time, row: Step, generator: Source) -> Any:
        """The state after a step; where time rests it stays, and where s = 0 a known x_0 is it."""
        score = self.score(q, x, t, row.size)
        noise = random.normal(score, generator)
        v = score * aligned(row.gain, score) + noise * aligned(row.std, noise)
        after = self.move(x, v)
        if isinstance(q, Dirac):
            after = where(aligned(row.last, x), q.mean, after)
        return where(aligned(row.rest, x), x, after)

    def score(self, q: Any, x: Any, t: Time, size: Any = None) -> Any:
        """Tangent vectors at x: the gradient of log p_t.

        Args:
            q: a posterior of a kind in `accepts`.
            x: state.
            t: time.
            size: of `size(t)`, where it is at hand.
        """
        if isinstance(q, Tangent):
            return q.direction * aligned(self.size(t) if size is None else size, q.direction)
        if isinstance(q, Mixture):
            first, *rest = (
                v * expand(v, w)
                for w, v in (
                    (w, self.score(part, x, t))
                    for w, part in zip(q.probs.unbind(1), q.parts, strict=True)
                )
            )
            return sum(rest, start=first)
        return self.slope(q.mean, x, t)

    def size(self, t: Time) -> Tensor:
        """Root mean square of one number of the score of known data, float64; from a table."""
        sigma = self.sigma(t).clamp_min(TINY)
        low, high = math.log(self.schedule.sigma_min / LEVELS), math.log(self.schedule.sigma_max)
        place = ((sigma.log() - low) / (high - low)).clamp(0, 1) * (LEVELS - 1)
        before = place.long().clamp(max=LEVELS - 2)
        table = self._sizes.to(sigma)
        return torch.lerp(table[before], table[before + 1], place - before).exp() / sigma

    def sizes(self, sigma: Tensor) -> Tensor:
        """The same for standard deviations (...), by integration."""
        raise self._lacks("a size of scores")

    def slope(self, x0: Any, x: Any, t: Time) -> Any:
        """Tangent vectors at x: the gradient of log p_t(x | x_0)."""
        raise self._lacks("a score")

    def move(self, x: Any, v: Any) -> Any:
        """Where tangent vectors `v` at `x` lead."""
        raise self._lacks("moves")


@dataclass(frozen=True)
class Geodesic(EachPart):
    """Steps along tangent vectors, with any share of fresh noise: DDIM on a `Manifold`.

    Args:
        eta: 0 is the probability flow, 1 the reverse SDE (`Ancestral`).
    """

    eta: float = 0.0

    needs: ClassVar[Can] = Can.STEP

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"Geodesic: eta must lie in [0, 1], but is {self.eta}")

    def plan(self, process: Process, grid: Any) -> Sequence[Any]:
        if not isinstance(process, Manifold):
            raise Unsupported(f"Geodesic needs a Manifold, not {process}. Use Ancestral()")
        return process.steps(grid, self.eta)

    def advance(
        self, row: Any, process: Any, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        t, x, q = past[-1]
        return process.step(q, x, t, row, generator)


def aligned(value: Any, x: Any) -> Any:
    """A planned coefficient, shaped like the state `x`: floats and flags are shared by all."""
    if isinstance(value, Tensor):
        return expand(x, value)
    return torch.tensor(value) if isinstance(value, bool) else value


def radii(sigma: Tensor) -> Tensor:
    """(..., 1025) angles from 0 to 10 sigma, or to pi where that is less, for sigma (...)."""
    far = (REACH * sigma).clamp(max=math.pi)[..., None]
    return far * torch.linspace(0, 1, POINTS, dtype=torch.float64, device=sigma.device)
