"""Bounds on -log p(x_0) for training and for measuring, in nats per item.

`sfumato.elbo` walks a whole grid. Here one time is drawn for each item, so that a bound costs one
or two calls of the denoiser, is a training loss for everything that can be learned (denoiser and
process), and averages to the whole:

    L = KL(q(x_1 | x_0) || p(x_1)) + sum of steps, or integral over time + E[-log p(x_0 | x_start)]

(Kingma et al. 2021, arXiv:2107.00630, eq. 11-17; for a learned process none of the three terms is
constant). Denoisers of continuous data that return points are given a density at the last step by
the process: see `Decoded`.
"""

from __future__ import annotations

__all__ = ["Bound", "Continuous", "Decoded", "Rated", "Stepwise", "Terms"]

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato import Can, Dirac, InputError, Posterior, Process, Unsupported, kl
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import Time


class Terms(NamedTuple):
    """The three parts of a bound, (B,) nats each."""

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) upper bound on -log p(x_0), a draw of it."""
        return self.prior.double() + self.diffusion.double() + self.reconstruction.double()


class Bound(Protocol):
    """One draw of the bound for each item."""

    def __call__(
        self, process: Any, denoiser: Denoise, x0: Any, u: Tensor, generator: Source
    ) -> Terms:
        """Terms at the step or time that u, (B,) uniform on [0, 1), stands for."""


@runtime_checkable
class Rated(Protocol):
    """A process whose bound has a limit in continuous time."""

    def rate(self, x0: Any, q: Any, x: Any, t: Tensor) -> Tensor:
        """(B,) KL(bridge || transition) per unit of time, as the step goes to 0."""

    def decode(self, q: Any, t: Tensor) -> Any:
        """A density of x_0 from a point estimate at a small t."""


class Decoded:
    """A denoiser whose points are given a density by the process at times up to `start`.

    For `sfumato.elbo`, whose last step asks for one: the law is as wide as the noise at that time
    (Kingma et al. 2021, eq. 8), with its centre at what the denoiser says.

    Args:
        denoiser: a `Denoiser`, or a function of (x, t).
        process: has `decode`.
        start: the last time above 0 of the grid.
    """

    def __init__(self, denoiser: Denoise, process: Process, start: float) -> None:
        self.denoiser, self.process, self.start = denoiser, process, start

    def __call__(self, x: Any, t: Time) -> Posterior:
        q: Posterior = self.denoiser(x, t)
        if not isinstance(q, Dirac) or not isinstance(t, Tensor) or bool((t > self.start).any()):
            return q
        law: Posterior = _rated(self.process).decode(q, t)
        return law


@dataclass(frozen=True)
class Continuous:
    """The bound in continuous time, from `start` to 1.

    For `Gaussian` the integrand is -SNR'(t)/2 |x_0 - E[x_0 | x_t]|^2 (Kingma et al. 2021, eq. 15).
    Times are log-uniform on [start, 1]: near the data the integrand grows like 1/t, whatever the
    schedule. One further call at `start` gives the reconstruction.

    Args:
        start: the time where the reconstruction takes over, in (0, 1).
    """

    start: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.start < 1:
            raise InputError(f"Continuous: start must lie in (0, 1), but is {self.start}")

    def time(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The time that u stands for, and one over its density."""
        span = -math.log(self.start)
        t = (-span * u.double()).exp()
        return t, t * span

    def __call__(
        self, process: Any, denoiser: Denoise, x0: Any, u: Tensor, generator: Source
    ) -> Terms:
        limit = _rated(process)
        t, weight = self.time(u)
        x = process.marginal(x0, t).sample(generator)
        rate = limit.rate(x0, denoiser(x, t), x, t).double()
        return Terms(
            _prior(process, x0),
            rate * weight.to(rate.device),
            _reconstruction(process, denoiser, x0, self.start, generator),
        )


@dataclass(frozen=True)
class Stepwise:
    """The bound of `elbo` on a grid of equal steps, one step drawn for each item.

    Its average is that of `elbo` on the same grid; as steps grow it falls to `Continuous`.

    Args:
        steps: number of steps, 2 or more; the last one is the reconstruction.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise InputError(f"Stepwise: at least 2 steps are needed, not {self.steps}")

    def __call__(
        self, process: Any, denoiser: Denoise, x0: Any, u: Tensor, generator: Source
    ) -> Terms:
        if Can.LIKELIHOOD not in process.can:
            raise Unsupported(f"a bound needs LIKELIHOOD; {process} can {process.can.names()}")
        count = self.steps - 1
        s = ((u.double() * count).floor().clamp_max(count - 1) + 1) / self.steps
        t = s + 1 / self.steps
        x = process.marginal(x0, t).sample(generator)
        back = process.transition(denoiser(x, t), x, t, s)
        step = kl(process.bridge(x0, x, t, s), back).double() * count
        start = 1 / self.steps
        return Terms(
            _prior(process, x0),
            step,
            _reconstruction(process, denoiser, x0, start, generator),
        )


def _rated(process: Process) -> Rated:
    if not isinstance(process, Rated):
        raise Unsupported(
            f"{process} has neither a bound in continuous time nor a density for point estimates; "
            "use Stepwise with a denoiser that returns whole posteriors"
        )
    return process


def _prior(process: Process, x0: Any) -> Tensor:
    return kl(process.marginal(x0, torch.ones((), dtype=torch.float64)), process.prior(x0))


def _reconstruction(
    process: Process, denoiser: Denoise, x0: Any, start: float, generator: Source
) -> Tensor:
    """(B,) -log p(x_0 | x_start), at a draw of x_start."""
    t = torch.tensor(start, dtype=torch.float64)
    x = process.marginal(x0, t).sample(generator)
    law = process.transition(Decoded(denoiser, process, start)(x, t), x, t, torch.zeros_like(t))
    return law.nll(x0)
