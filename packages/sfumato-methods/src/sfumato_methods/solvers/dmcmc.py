"""Denoising MCMC: a chain over states and noise levels, whose quietest states are then denoised.

Kim & Ye 2022, arXiv:2209.14593. The chain has pi(v, l) proportional to p_l(v) over a list of noise
levels l = sigma/alpha, with v = x/alpha: it stays near the data, so that little is left to denoise,
and the denoiser is any sampler that takes a time for each item.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, InputError, Process, Sampler, Unsupported, random, run
from sfumato.sampling import Denoise
from sfumato.state import axpy, expand, scale, where

from .linear import noise

__all__ = ["LangevinGibbs", "Link", "denoised", "karras_from"]

Levels = Callable[[Any], Tensor]
"""Maps v = x/alpha to (B, L) log probabilities (up to a constant per item) of the noise levels."""


class Link(NamedTuple):
    """Where a chain is.

    Attributes:
        x: state at time `t`, in the coordinates of the process.
        t: (B,) time of each item.
    """

    x: Any
    t: Tensor


@dataclass(frozen=True)
class LangevinGibbs:
    """The Denoising Langevin Gibbs chain; one call a move.

    A move is v <- v + (eta/2) score_l(v) + eta^(1/2) n, then l drawn from p(l | v) (the release
    takes its most probable level instead of a draw; a draw is what leaves pi invariant as eta goes
    to 0). `walk` yields, once in `skip` moves, the quietest state of those moves; the chain itself
    goes on from the last one. Choosing by the level is not neutral: of several draws of l for much
    the same v the lowest is too low for it. The bias falls with the number of dimensions, in which
    v tells l ever better, and is absent for skip = 1.

    Args:
        eta: step of the Langevin dynamics, in squared units of v; no larger than the smallest
            variance of the data.
        skip: moves for each state yielded.
        burn: moves made before.
    """

    eta: float
    skip: int = 4
    burn: int = 20

    def __post_init__(self) -> None:
        if not self.eta > 0 or self.skip < 1 or self.burn < 0:
            raise InputError(
                "LangevinGibbs takes eta > 0, skip >= 1 and burn >= 0, not "
                f"eta={self.eta}, skip={self.skip}, burn={self.burn}"
            )

    def walk(
        self,
        process: Process,
        denoiser: Denoise,
        start: Link,
        levels: Levels,
        times: Tensor,
        generator: random.Source,
    ) -> Iterator[Link]:
        """Links of the chains, one for each item, without end.

        Args:
            process: needs AFFINE and GAUSSIAN.
            denoiser: a `Denoiser`, or a function of (x, t).
            start: where the chains begin, their times in (0, 1).
            levels: log probabilities of the noise levels at `times`, given v.
            times: (L,) of the levels, where neither noise nor data is absent.
            generator: source of all draws.

        Raises:
            Unsupported: if the process lacks what is needed.
            InputError: for times at an end of the range.
        """
        missing = (Can.AFFINE | Can.GAUSSIAN) & ~process.can
        if missing:
            raise Unsupported(f"LangevinGibbs needs {missing.names()}; {process} lacks it")
        maker: Any = process
        table = (-0.5 * maker.logsnr(times)).exp()
        if not bool((table.isfinite() & (table > 0)).all()):
            raise InputError("the times of the chain must lie where there is both noise and data")
        v, t = scale(1 / maker.alpha(start.t), start.x), start.t
        level = (-0.5 * maker.logsnr(t)).exp()
        for _ in range(self.burn):
            v, t, level = self._move(maker, denoiser, v, t, level, levels, times, table, generator)
        while True:
            quiet: tuple[Any, Tensor, Tensor] | None = None
            for _ in range(self.skip):
                v, t, level = self._move(
                    maker, denoiser, v, t, level, levels, times, table, generator
                )
                quiet = _quieter(quiet, (v, t, level))
            assert quiet is not None
            yield Link(scale(maker.alpha(quiet[1]), quiet[0]), quiet[1])

    def _move(
        self,
        process: Any,
        denoiser: Denoise,
        v: Any,
        t: Tensor,
        level: Tensor,
        levels: Levels,
        times: Tensor,
        table: Tensor,
        generator: random.Source,
    ) -> tuple[Any, Tensor, Tensor]:
        mean = denoiser(scale(process.alpha(t), v), t).mean
        pull = 0.5 * self.eta / level.square()
        v = axpy(math.sqrt(self.eta), noise(process, v, generator), v + scale(pull, mean - v))
        pick = random.categorical(levels(v).double().softmax(-1), generator)
        return v, times[pick], table[pick]


def _quieter(
    one: tuple[Any, Tensor, Tensor] | None, two: tuple[Any, Tensor, Tensor]
) -> tuple[Any, Tensor, Tensor]:
    if one is None:
        return two
    first = one[2] <= two[2]
    v = where(expand(one[0], first), one[0], two[0])
    return v, torch.where(first, one[1], two[1]), torch.where(first, one[2], two[2])


def karras_from(
    process: Process, t: Tensor, steps: int, sigma_min: float = 0.01, rho: float = 7.0
) -> Tensor:
    """A grid for each item from its own time, even in l^(1/rho), then a step to 0: (steps + 1, B).

    Args:
        process: needs AFFINE.
        t: (B,) where the items begin.
        steps: number of steps.
        sigma_min: last noise level before 0, as sigma/alpha; items that begin below it rest until
            the step to 0.
        rho: as for `grids.karras`.
    """
    if steps < 1 or not sigma_min > 0:
        raise InputError(
            f"steps must be at least 1 and sigma_min positive, not {steps}, {sigma_min}"
        )
    maker: Any = process
    high = (-0.5 * maker.logsnr(t)).exp()
    low = high.clamp_max(sigma_min)
    share = torch.linspace(0, 1, steps, dtype=torch.float64, device=t.device)[:, None]
    root = high ** (1 / rho) + share * (low ** (1 / rho) - high ** (1 / rho))
    times = maker.time(-2 * rho * root.log())
    times = torch.where(high <= sigma_min, t, torch.minimum(times, t))
    return torch.cat([t[None], times[1:], torch.zeros_like(t)[None]])


def denoised(
    integrator: Sampler,
    process: Process,
    denoiser: Denoise,
    link: Link,
    steps: int,
    generator: random.Source,
    sigma_min: float = 0.01,
) -> Any:
    """The data at the end of a link: an integrator along `karras_from` its times, and then D.

    The last step, to 0, is the posterior mean: one call, whatever the integrator.
    """
    grid, x = karras_from(process, link.t, steps, sigma_min), link.x
    if steps > 1:
        for frame in run(integrator, process, denoiser, x, grid[:-1], generator):
            x = frame.after
    return process.project(denoiser(x, grid[-2]).mean)
