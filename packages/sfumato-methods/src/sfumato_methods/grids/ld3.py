"""LD3: levels learned through the solver, to land where many steps land.

Tong et al. 2024, arXiv:2405.15506. The logarithm of sigma/alpha falls from the first level to the
last by the shares softmax(u); the student solves on that grid, the teacher on a fine one from the
same noise, and u minimises the distance of the two. Few steps cannot follow the teacher exactly, so
the student may start anywhere in a small ball around the noise (eq. 8): each item's start moves
there by gradient steps of its own, which are kept where they help.

What the network is told (`Levels.shifts`) is learned together with the levels, both by Adam, whose
rate falls to 0 by a cosine. The paper takes RMSprop for the levels and, in a second phase, plain
gradient steps for the shifts; these lag behind where a step moves the loss by little.
"""

from __future__ import annotations

__all__ = ["Learned", "learn", "mean_square"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from sfumato import InputError, Process, Sampler, random, run
from sfumato.sampling import Denoise
from sfumato.state import apply, expand, item_count, item_sum, items, leaf, scale, select, where

from .fixed import affine, at_levels
from .levels import Levels, Retimed

Distance = Callable[[Any, Any], Tensor]
"""(B,) distances of states to others, item by item."""

RATE = 0.03
"""First step of Adam, for u and for the nudges that shifts give to x_0."""


class Learned(NamedTuple):
    """Levels, with the mean distance to the teacher on noise that they were not learned on."""

    levels: Levels
    before: float  # of the levels that the search began with
    after: float


def mean_square(x: Any, y: Any) -> Tensor:
    """(B,) mean squared difference."""
    return item_sum(apply(x - y, torch.square)) / item_count(x)


def learn(
    process: Process,
    denoiser: Callable[[Tensor], Denoise],
    noise: Any,
    teacher: Any,
    steps: int,
    *,
    sampler: Sampler,
    generator: Generator,
    start: Levels | None = None,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rounds: int = 20,
    batch: int = 20,
    radius: float = 0.0,
    shifted: bool = False,
    distance: Distance = mean_square,
    watch: Callable[[int, int, float], None] | None = None,
) -> Learned:
    """Learn the levels of a grid for one model, one sampler and one number of steps.

    Args:
        process: needs AFFINE.
        denoiser: the model for the items at these indices (under their own conditions).
        noise: states at t = 1. The last fifth is kept for validation: the levels that were best on
            it are returned.
        teacher: where a fine solver takes `noise` to, item by item.
        steps: number of steps.
        sampler: deterministic, its plan differentiable.
        generator: of the order of the items.
        start: levels to begin with; None: equal steps of the logarithm.
        sigma_min: the last level, as sigma/alpha, which becomes 0; not with `start`.
        sigma_max: the first level, capped by what the process reaches; not with `start`.
        rounds: passes over the items.
        batch: items of a step.
        radius: of the ball that the noise may move in, as a root mean square; 0: it stays.
        shifted: learn also what the network is told (`Levels.shifts`).
        distance: what is minimised.
        watch: is told the round, the number of rounds and the validation distance.

    Raises:
        InputError: if the sampler draws, there are too few items, or the range of levels is empty.
    """
    if not sampler.deterministic:
        raise InputError(
            f"{type(sampler).__name__} draws noise, so that it follows no teacher; a grid is "
            "learned for a deterministic sampler"
        )
    count = items(noise)
    if count < 2 or items(teacher) != count:
        raise InputError(
            f"two items of noise are needed at least, and a teacher for each; there are {count} "
            f"and {items(teacher)}"
        )
    first = _first(process, steps, sigma_min, sigma_max) if start is None else start
    student = _Student.at(process, sampler, first, steps)
    held = torch.arange(count - max(1, count // 5), count)
    train = torch.arange(count - len(held))

    def far(x: Any, index: Tensor) -> Tensor:
        return distance(student(denoiser(index), x), select(teacher, index))

    def validated() -> float:
        with torch.no_grad():
            return float(far(select(noise, held), held).mean())

    before = best = validated()
    chosen = student.levels(shifted=shifted)
    wanted = [student.shares, student.nudges] if shifted else [student.shares]
    adam = torch.optim.Adam(wanted, lr=RATE)
    pace = torch.optim.lr_scheduler.CosineAnnealingLR(adam, rounds * math.ceil(len(train) / batch))
    starts = noise
    for turn in range(rounds):
        for part in torch.split(random.permutation(len(train), generator), batch):
            index = train[part]
            x = apply(select(starts, index), lambda v: v.detach().requires_grad_(radius > 0))
            each = far(x, index)
            leaves = [*wanted, *([leaf(x)] if radius > 0 else [])]
            grads = torch.autograd.grad(each.mean(), leaves)
            for value, grad in zip(wanted, grads, strict=False):
                value.grad = grad
            torch.nn.utils.clip_grad_norm_(wanted, 1.0, error_if_nonfinite=True)
            adam.step()
            pace.step()
            student.bound()
            if radius > 0:
                moved = _moved(x, grads[-1], select(noise, index), radius)
                with torch.no_grad():
                    better = far(moved, index) < far(x, index)
                starts = _put(starts, where(expand(x, better), moved, x), index)
        now = validated()
        if now < best:
            best, chosen = now, student.levels(shifted=shifted)
        if watch is not None:
            watch(turn + 1, rounds, best)
    return Learned(chosen, before, best)


@dataclass(frozen=True, eq=False)
class _Student:
    """A solver whose grid is differentiable.

    A shift d moves the x_0 of the network by d sigma/alpha noise, so much more at high levels than
    at low ones. What is learned is the nudge d (1 + sigma/alpha), which does about as much at all.

    Attributes:
        top: logarithm of the first level.
        length: how far the logarithm falls in all.
        shares: (N,) u, whose softmax divides the length into steps.
        nudges: (N,) the shifts of what the network is told at the start of each step, as nudges.
    """

    process: Process
    sampler: Sampler
    top: float
    length: float
    shares: Tensor
    nudges: Tensor

    @classmethod
    def at(cls, process: Process, sampler: Sampler, start: Levels, steps: int) -> _Student:
        """With parameters that give these levels and shifts."""
        if start.steps != steps:
            raise InputError(f"the first levels are for {start.steps} steps, not {steps}")
        level = torch.tensor(start.levels, dtype=torch.float64)
        log = level.log()
        shares = (-log.diff()).log()
        shares = shares - shares.mean()
        shifts = torch.tensor(start.shifts or [0.0] * steps, dtype=torch.float64)
        nudges = shifts * (1 + level[:-1])
        length = float(log[0] - log[-1])
        both = shares.requires_grad_(), nudges.requires_grad_()
        return cls(process, sampler, float(log[0]), length, *both)

    def log_levels(self) -> Tensor:
        """(N + 1,)."""
        fall = self.shares.softmax(0).cumsum(0)
        return torch.cat([fall.new_full((1,), self.top), self.top - self.length * fall])

    def shifts(self) -> Tensor:
        """(N,) added to the level that the network is told."""
        return self.nudges / (1 + self.log_levels()[:-1].exp())

    def __call__(self, denoiser: Denoise, x: Any) -> Any:
        """Where the solver takes x."""
        log = self.log_levels()[:-1]
        told = Retimed(denoiser, self.process, log, self.shifts())
        grid = at_levels(self.process, log.exp())
        unused = Generator()
        for frame in run(self.sampler, self.process, told, x, grid, unused):
            x = frame.after
        return x

    @torch.no_grad()
    def bound(self) -> None:
        """Keep shifts within half the smallest step, and none at the ends."""
        log = self.log_levels()
        most = 0.5 * float(-log.diff().max()) * (1 + log[:-1].exp())
        self.nudges.copy_(self.nudges.clamp(-most, most))
        self.nudges[0] = 0.0

    def levels(self, *, shifted: bool) -> Levels:
        """The levels as they are."""
        with torch.no_grad():
            log, shifts = self.log_levels().tolist(), self.shifts().tolist()
        return Levels(tuple(math.exp(v) for v in log), tuple(shifts) if shifted else ())


def _first(process: Any, steps: int, sigma_min: float, sigma_max: float) -> Levels:
    end = -0.5 * float(affine(process, "learned").logsnr(torch.ones((), dtype=torch.float64)))
    top = min(math.log(sigma_max), end)
    if steps < 1 or not 0 < sigma_min < math.exp(top):
        raise InputError(
            f"a grid has at least 1 step and sigma_min between 0 and {math.exp(top):g}, not "
            f"{steps} and {sigma_min}"
        )
    log = torch.linspace(top, math.log(sigma_min), steps + 1, dtype=torch.float64)
    return Levels(tuple(log.exp().tolist()))


def _moved(x: Any, grad: Tensor, centre: Any, radius: float) -> Any:
    """The state after a step of half the radius down the slope, brought back into the ball."""

    def norm(v: Any) -> Tensor:
        return mean_square(v, v * 0).sqrt()

    slope = apply(x, lambda v: grad)
    length = (0.5 * radius / norm(slope).clamp_min(1e-30)).double()
    away = x.detach() - scale(expand(x, length), slope) - centre
    inward = (radius / norm(away).clamp_min(1e-30)).clamp_max(1.0).double()
    return centre + scale(expand(x, inward), away)


def _put(x: Any, part: Any, index: Tensor) -> Any:
    """The state with the items at `index` replaced."""
    return apply(x, lambda v, w: v.index_copy(0, index.to(v.device), w.detach()), part)
