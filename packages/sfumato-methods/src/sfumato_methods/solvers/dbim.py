r"""Samplers of pinned processes: implicit bridge models, and the hybrid of diffusion bridges.

Around its source a state follows a Gaussian process, y_t = x_t - a_t source = b_t x_0 + c_t eps, so
that solvers in alpha and sigma serve here in b and c. What is special is the beginning: at the
source itself c = 0, and the noise of the first step has to be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Frame, InputError, Multistep, Process, Unsupported
from sfumato.process import rows
from sfumato.random import Source
from sfumato.sampling import Denoise, Point, Trajectory, times
from sfumato.state import Time, scale

from ..bridges import Pinned, Shares
from ..terms import plus
from .exponential import ExponentialAB, check_order
from .flow import Trapezoid
from .linear import absent, noise

__all__ = ["DBIM", "BridgeHeun", "boot_noise"]


class _Around:
    """A process as an affine one around its source, y = b x_0 + c eps.

    At the source, where neither data nor noise is left, it says (0, 1): nothing is infinite then,
    and steps that begin or end there are put right by who plans them.
    """

    def __init__(self, process: Any) -> None:
        self.pinned = isinstance(process, Pinned)
        if not self.pinned and Can.AFFINE not in process.can:
            raise Unsupported(
                f"DBIM needs a pinned process such as ddbm(), or AFFINE; {process} can "
                f"{process.can.names()}. Use Ancestral()"
            )
        self.process = process

    def shares(self, t: Tensor) -> Shares:
        """(a, b, c)."""
        if self.pinned:
            shares: Shares = self.process.shares(t)
            return shares
        alpha = self.process.alpha(t)
        return Shares(torch.zeros_like(alpha), alpha, self.process.sigma(t))

    def alpha(self, t: Tensor) -> Tensor:
        return self.shares(t).data

    def sigma(self, t: Tensor) -> Tensor:
        _, data, noise = self.shares(t)
        return torch.where((noise > 0) | (data > 0), noise, 1.0)

    def logsnr(self, t: Tensor) -> Tensor:
        found: Tensor = self.process.path.logsnr(t) if self.pinned else self.process.logsnr(t)
        return found

    def memory(self, t: Tensor) -> Tensor:
        found: Tensor = self.process.path.memory(t) if self.pinned else self.process.logsnr(t)
        return found


@dataclass(frozen=True)
class DBIM(Multistep):
    r"""Diffusion bridge implicit models: DDIM for pinned processes, one call a step.

    With D the posterior mean and r the share of the variance of the noise that the path remembers,

        x_s = a_s source + b_s D + k (x_t - a_t source - b_t D) + om eps,
        om = eta c_s (1 - r)^(1/2),  k = (c_s^2 - om^2)^(1/2) / c_t

    (Zheng et al. 2024, arXiv:2405.15885). eta = 1 is the ancestral step with a point estimate,
    eta = 0 follows the probability flow; it alone can be of higher order, D extrapolated in
    log(b/c) and integrated exactly. The step away from the source draws its noise whatever eta is:
    there no flow is defined. Under an AFFINE process it is `DDIM` and `ExponentialAB`.

    Grids should begin with a short step (`grids.booted`), so that D is asked again with noise.

    Args:
        eta: from 0, deterministic but for the first step, to 1.
        order: 1, 2 or 3; above 1 with eta = 0 alone.
    """

    eta: float = 0.0
    order: int = 1
    needs: ClassVar[Can] = Can.GAUSSIAN

    def __post_init__(self) -> None:
        check_order(self, self.order, 3)
        if not 0 <= self.eta <= 1:
            raise InputError(f"DBIM: eta must lie in [0, 1], but is {self.eta}")
        if self.eta > 0 and self.order > 1:
            raise InputError("DBIM: an order above 1 needs eta = 0, the probability flow")

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    @property
    def deterministic(self) -> bool:
        """Whether it draws nothing but the noise of a first step away from the source."""
        return self.eta == 0

    def plan(self, process: Process, grid: Any) -> Sequence[Any]:
        around = _Around(process)
        end, data, std = around.shares(grid)
        rest, bare = grid[1:] == grid[:-1], std == 0
        fixed = ((bare[:-1] & (grid[:-1] > 0)) | bare[1:]) & ~rest  # no noise to go on with
        if self.eta == 0:
            keep, *means = ExponentialAB(self.order).columns(around, grid)
            fresh = torch.zeros_like(keep)
        else:
            gap = torch.where(rest, 0.0, around.memory(grid[:-1]) - around.memory(grid[1:]))
            share = -self.eta * self.eta * torch.expm1(gap)
            before = torch.where(std[:-1] > 0, std[:-1], 1.0)
            # for eta = 1 as a power: the root has no gradient where nothing is kept
            root = (0.5 * gap).exp() if self.eta == 1 else (1 - share).sqrt()
            keep = torch.where(rest, 1.0, std[1:] / before * root)
            means = [torch.where(rest, 0.0, data[1:] - keep * data[:-1])]
            fresh = std[1:] * share.clamp_min(0).sqrt()
        keep = torch.where(fixed, 0.0, keep)
        means[0] = torch.where(fixed, data[1:], means[0])
        fresh = torch.where(fixed, std[1:], fresh)
        source = torch.where(rest, 0.0, end[1:] - keep * end[:-1])
        return rows(grid, keep, fresh, source, *means)

    def advance(
        self, row: Any, process: Any, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        keep, std, end, newest, *older = row
        _, x, q = past[-1]
        after = plus(newest, q.mean, scale(keep, x))
        for back, weight in enumerate(older, start=2):
            if back <= len(past):
                after = plus(weight, past[-back].posterior.mean, after)
        if isinstance(process, Pinned) and not absent(end):
            after = plus(end, process.end(q, x), after)
        return after if absent(std) else plus(std, noise(process, x, generator), after)


def boot_noise(process: Pinned, denoiser: Denoise, x: Any, t: Tensor) -> Any:
    """The noise that the first step of `DBIM`, from the source to time t, has to draw to reach x.

    (x - a source - b D(source, 1)) / c: what an item is encoded as, when the probability flow has
    brought it up to time t (Zheng et al. 2024, arXiv:2405.15885).

    Args:
        process: given its source.
        denoiser: given its conditions.
        x: the state at time t.
        t: () a time below 1.
    """
    a, b, c = process.shares(t)
    source = process.source(x)
    q = denoiser(source, torch.ones_like(t))
    return scale(1 / c, x - scale(a, process.end(q, source)) - scale(b, q.mean))


@dataclass(frozen=True)
class BridgeHeun:
    """The hybrid sampler of diffusion bridges: noise in the first part of a step, Heun in the rest.

    Zhou et al. 2023, arXiv:2309.16948, algorithm 1. They solve the reverse SDE over the first part
    by an Euler-Maruyama step; here it is drawn from the transition law, which is exact where D is
    constant and is defined at the source too. Three calls a step, one less where it ends at t = 0.

    Args:
        share: what part of each step is stochastic, above 0 (their s, 0.33).
    """

    share: float = 0.33
    needs: ClassVar[Can] = Can.STEP | Can.VELOCITY
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"BridgeHeun: share must lie between 0 and 1, but is {self.share}")

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Draw to the middle, then follow the flow to the end of the step."""
        fine = _with_middles(grid, self.share)
        plan, walk, clocks = process.plan(fine)[::2], Trapezoid(process, fine), times(fine)
        for i, row in enumerate(plan):
            t, middle, s = clocks[2 * i : 2 * i + 3]
            q = denoiser(x, t)
            after = process.transition(q, x, t, middle, row).sample(generator)
            _, after = walk.step(2 * i + 1, denoiser, after)
            x = yield Frame(t, s, x, q, after)


def _with_middles(grid: Any, share: float) -> Any:
    """The grid with one time more in each step, a share of the way on."""
    if isinstance(grid, Mapping):
        return {k: _with_middles(v, share) for k, v in grid.items()}
    middle = torch.lerp(grid[:-1], grid[1:], share)
    return torch.cat([torch.stack([grid[:-1], middle], 1).flatten(0, 1), grid[-1:]])
