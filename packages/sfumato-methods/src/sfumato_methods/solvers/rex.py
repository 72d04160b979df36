"""Rex: solvers of the reverse ODE and SDE that can be run backwards exactly.

Blasingame & Liu 2025, arXiv:2502.08834. Where y = x/w has dy = D dc (+ dW_c) in a clock c, with D
the posterior mean, any explicit method y' = y + Psi_h(c, y) is made reversible by carrying a twin z
of the state (McCallum & Foster 2024, arXiv:2410.11648), here as x and z in the scale of x:

    x' = (w'/w) (zeta x + (1 - zeta) z) + w' Psi_h(c, z)
    z' = (w'/w) z - w' Psi_{-h}(c', x')

which is solved for (x, z) by arithmetic alone. The ODE has c = alpha/sigma and w = sigma, the SDE
c = (alpha/sigma)^2 and w = sigma^2/alpha.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, Fields, Frame, InputError, Process, random, run
from sfumato.process import rows
from sfumato.sampling import Denoise, Trajectory, times
from sfumato.state import apply, axpy, expand, scale, to, where

from .brownian import BrownianPath, Increment
from .tableaux import EULER, Tableau

__all__ = ["Rex", "RexSDE", "invert", "twins"]


class _Stage(NamedTuple):
    """y_i = keep x + sum_j weights_j D_j + (push W + area H): what is shown to the denoiser."""

    time: Any
    keep: Any
    weights: tuple[Any, ...]
    push: Any
    area: Any


class _Leg(NamedTuple):
    """One increment Psi: its stages, the weights of the D_j, and the sign of W."""

    stages: list[_Stage]
    weights: tuple[Any, ...]
    sign: float


class _Step(NamedTuple):
    """From a time to a less noisy one and back; `here` belongs to the noisier end."""

    here: Any
    there: Any
    ratio: Any  # w'/w
    zeta: Any
    descent: _Leg
    ascent: _Leg
    lands: Any  # None, True, or a mask: the less noisy end is the data itself
    rests: Any  # None or a mask


def twins(x: Any) -> Fields:
    """A state and its twin, equal and in float64, as `Fields(x=..., twin=...)`."""
    x = to(x, torch.float64)
    return Fields(x=x, twin=x)


def _is_pair(x: Any) -> bool:
    return isinstance(x, Mapping) and set(x) == {"x", "twin"}


def invert(
    sampler: Rex | RexSDE, process: Process, denoiser: Denoise, x: Any, grid: Tensor
) -> Fields:
    """The pair of states at grid[0] from which `sampler` comes back to `x` along `grid`.

    `run(sampler, process, denoiser, pair, grid, generator)` then ends in a pair whose "x" is `x` up
    to rounding, whatever the number of steps.

    Args:
        sampler: `Rex`, or `RexSDE` with a path.
        process: as for `run`.
        denoiser: as for `run`.
        x: data at grid[-1], or the pair that a run ended in.
        grid: descending, its last time above 0.

    Raises:
        InputError: where a grid or sampler cannot be inverted.
    """
    pair = x if _is_pair(x) else twins(x)
    unused = torch.Generator()
    for frame in run(sampler, process, denoiser, pair, grid.flip(0), unused):
        pair = frame.after
    return pair


@dataclass(frozen=True)
class Rex:
    """Rex for the probability flow: 2 calls for each stage of the tableau in a step.

    Descending grids sample; ascending ones are the exact inverse of the descending ones, with the
    same arithmetic in the other order. A state is a plain one, whose twin starts equal to it and
    stays inside, or the pair `Fields(x=..., twin=...)` (see `twins` and `invert`): only a pair at
    both ends makes the way back exact. All arithmetic is in float64. A step to t = 0 returns the
    posterior mean at the twin with one call, and cannot be inverted.

    Args:
        tableau: the method that is made reversible.
        zeta: coupling of the twins, in (0, 1].
    """

    tableau: Tableau = EULER
    zeta: float = 0.999
    needs: ClassVar[Can] = Can.AFFINE
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_zeta(self.zeta)

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """Plan in the clock alpha/sigma and walk."""
        steps = _plan(process, grid, self.tableau, self.zeta, power=1)
        return _walk(denoiser, x, grid, steps, [None] * len(steps))


@dataclass(frozen=True)
class RexSDE:
    """Rex for the reverse SDE, along one Brownian path; calls as for `Rex`.

    With the path given it draws nothing: it then also takes ascending grids, which are the exact
    inverse. All items share one clock. Exact is not the same as useful: a step down shrinks what
    differs by (sigma'/sigma)^2, so that on a path that had nothing to do with the data the way up
    blows it up again. On coarse grids it ends far from the prior (at 1e10 where sigma goes from
    0.002 to 80 in 20 steps), and rounding there limits how well data comes back.

    Args:
        tableau: `EULER`, or `SHARK`, which also uses the area under the path.
        zeta: coupling of the twins, in (0, 1].
        path: what drives it; None draws one from the generator of the run.
    """

    tableau: Tableau = EULER
    zeta: float = 0.999
    path: BrownianPath | None = None
    needs: ClassVar[Can] = Can.AFFINE | Can.GAUSSIAN

    def __post_init__(self) -> None:
        _check_zeta(self.zeta)
        if len(self.tableau.b) > 1 and not self.tableau.area:
            raise InputError(
                f"RexSDE takes EULER or a tableau for additive noise such as SHARK, not "
                f"{self.tableau}"
            )

    @property
    def deterministic(self) -> bool:
        return self.path is not None

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Any, generator: random.Source
    ) -> Trajectory:
        """Plan in the clock (alpha/sigma)^2, look up the path and walk."""
        if grid.ndim > 1:
            raise InputError("RexSDE takes one time for all items; use Rex for a time for each")
        path = self.path or BrownianPath.draw(generator)
        steps = _plan(process, grid, self.tableau, self.zeta, power=2)
        like = to(x["x"] if _is_pair(x) else x, torch.float64)
        return _walk(denoiser, x, grid, steps, _driven(path, process, like, grid))


def _check_zeta(zeta: float) -> None:
    if not 0 < zeta <= 1:
        raise InputError(f"zeta must lie in (0, 1], but is {zeta}")


def _driven(path: BrownianPath, process: Any, like: Any, grid: Tensor) -> list[Increment | None]:
    """The increment of the path over each step, from its noisier end; None where none is needed."""
    up = bool((grid.diff() > 0).any())
    clock = process.logsnr(grid.flip(0) if up else grid).exp().tolist()
    marks = sorted({c for c in clock if c < float("inf")})
    increments = path.increments(process, like, marks) if len(marks) > 1 else []
    over = dict(zip(marks, increments, strict=False))
    found = [
        None if a == b or b == float("inf") else over[a]
        for a, b in zip(clock, clock[1:], strict=False)
    ]
    return found[::-1] if up else found


def _walk(
    denoiser: Denoise, x: Any, grid: Tensor, steps: list[_Step], noise: Sequence[Increment | None]
) -> Trajectory:
    paired = _is_pair(x)
    clocks = times(grid)
    pair = (x["x"], x["twin"]) if paired else (x, x)
    now, twin = (to(v, torch.float64) for v in pair)
    for i, (step, increment) in enumerate(zip(steps, noise, strict=True)):
        t, s = clocks[i], clocks[i + 1]
        move = _invert if bool((s > t).any()) else _forward
        q, new, new_twin = move(step, denoiser, now, twin, increment)
        said = Fields(x=new, twin=new_twin) if paired else new
        after = _like(said, x)
        sent = yield Frame(t, s, x, q, after)
        now, twin = new, new_twin
        if sent is not after and paired:
            now, twin = (to(sent[k], torch.float64) for k in ("x", "twin"))
        elif sent is not after:  # a constraint has spoken: the twin goes along
            now = to(sent, torch.float64)
            twin = twin + (now - to(after, torch.float64))
        x = sent


def _like(value: Any, x: Any) -> Any:
    return apply(value, lambda v, u: v.to(u.dtype), x)


def _forward(
    step: _Step, denoiser: Denoise, x: Any, twin: Any, increment: Increment | None
) -> tuple[Any, Any, Any]:
    shown = _shown(step.rests, x, twin)
    if step.lands is True:
        q = denoiser(shown, step.descent.stages[0].time)
        return q, q.mean, q.mean
    q, rise = _increment(step.descent, denoiser, shown, increment)
    mixed = axpy(step.zeta, x, scale(1 - step.zeta, twin))
    new = axpy(step.there, rise, scale(step.ratio, mixed))
    if step.lands is not None:
        new = where(expand(x, step.lands), q.mean, new)
    _, fall = _increment(step.ascent, denoiser, new, increment)
    new_twin = scale(step.ratio, twin) - scale(step.there, fall)
    if step.lands is not None:
        new_twin = where(expand(x, step.lands), q.mean, new_twin)
    return q, new, new_twin


def _invert(
    step: _Step, denoiser: Denoise, x: Any, twin: Any, increment: Increment | None
) -> tuple[Any, Any, Any]:
    q, fall = _increment(step.ascent, denoiser, x, increment)
    old_twin = axpy(step.here, fall, scale(1 / step.ratio, twin))
    shown = _shown(step.rests, x, old_twin)
    _, rise = _increment(step.descent, denoiser, shown, increment)
    back = scale(1 / step.ratio, x) - scale(step.here, rise)
    old = scale(1 / step.zeta, back) + scale(1 - 1 / step.zeta, old_twin)
    return q, old, old_twin


def _shown(rests: Any, x: Any, twin: Any) -> Any:
    """The twin, but the state itself where time stands still."""
    if rests is None or rests is True:
        return twin if rests is None else x
    return where(expand(x, rests), x, twin)


def _increment(
    leg: _Leg, denoiser: Denoise, x: Any, increment: Increment | None
) -> tuple[Any, Any]:
    """(first posterior, Psi) of one leg."""
    means: list[Any] = []
    first = None
    for time, keep, weights, push, area in leg.stages:
        y = scale(keep, x) if means else x
        for weight, mean in zip(weights, means, strict=True):
            y = axpy(weight, mean, y)
        if increment is not None:
            y = axpy(leg.sign * push, increment.w, y) if push else y
            y = axpy(area, increment.area, y) if area else y
        q = denoiser(y, time)
        first = q if first is None else first
        means.append(q.mean)
    psi = scale(leg.weights[0], means[0])
    for weight, mean in zip(leg.weights[1:], means[1:], strict=True):
        psi = axpy(weight, mean, psi)
    return first, psi if increment is None else axpy(leg.sign, increment.w, psi)


def _plan(process: Any, grid: Tensor, tableau: Tableau, zeta: float, power: int) -> list[_Step]:
    """Steps of a grid in the clock (alpha/sigma)^power; those of an ascending one swap their ends.

    Raises:
        InputError: where an ascending grid leads to where nothing is left to come back from.
    """
    high, low = torch.maximum(grid[1:], grid[:-1]), torch.minimum(grid[1:], grid[:-1])
    lands, rests = (low == 0) & (high > 0), high == low
    safe = torch.where(lands, high, low)  # what is finite is masked later
    here, there = (_weight(process, t, power) for t in (high, safe))
    if bool((grid[1:] > grid[:-1]).any()) and bool(here.isinf().any()):
        raise InputError(
            "RexSDE cannot go up to a time at which no data is left; end the grid before"
        )
    still = rests | lands
    ratio = torch.where(still, 1.0, there / torch.where(still, 1.0, here))
    pull = torch.where(rests, 1.0, torch.full_like(high, zeta))
    descent = _legs(process, grid, high, safe, tableau, power, 1.0)
    ascent = _legs(process, grid, safe, high, tableau, power, -1.0)
    shared = grid.ndim == 1
    masks = [[_mask(m, shared) for m in column] for column in (lands, rests)]
    table = rows(grid, here, there, ratio, pull)
    return [_Step(*row, *rest) for row, *rest in zip(table, descent, ascent, *masks, strict=True)]


def _mask(mask: Tensor, shared: bool) -> Any:
    if not bool(mask.any()):
        return None
    return True if shared else mask


def _weight(process: Any, t: Tensor, power: int) -> Tensor:
    """w: sigma, or sigma^2/alpha (infinite where no data is left)."""
    sigma: Tensor = process.sigma(t)
    return sigma if power == 1 else sigma.square() / process.alpha(t)


def _legs(
    process: Any,
    grid: Tensor,
    start: Tensor,
    end: Tensor,
    tableau: Tableau,
    power: int,
    sign: float,
) -> list[_Leg]:
    """The increments Psi from `start` to `end`, one for each step."""
    clock = [(0.5 * power * process.logsnr(t)).exp() for t in (start, end)]
    rest = start == end
    h = torch.where(rest, 0.0, clock[1] - torch.where(rest, clock[1], clock[0]))
    own = _weight(process, start, power)
    areas = tableau.area or (0.0,) * len(tableau.b)
    moments, columns = [], []
    for a, c, area in zip(tableau.a, tableau.c, areas, strict=True):
        if c in (0.0, 1.0):
            time = end if c else start
        else:
            time = torch.where(rest, start, process.time((clock[0] + c * h).log() * 2 / power))
        weight = _weight(process, time, power)
        same = rest | torch.full_like(rest, c == 0)
        keep = torch.where(same, 1.0, weight / torch.where(same, 1.0, own))
        moments.append(time)
        # where no data is left the weight is infinite and D does not depend on the state
        spread = torch.where(weight.isinf(), 0.0, weight)
        columns += [keep, *(weight * h * v for v in a), c * spread, area * spread]
    table = rows(grid, *columns, *(h * v for v in tableau.b))
    return [_leg(row, [m[i] for m in moments], tableau, sign) for i, row in enumerate(table)]


def _leg(row: tuple[Any, ...], moments: list[Tensor], tableau: Tableau, sign: float) -> _Leg:
    stages, place = [], 0
    for j, time in enumerate(moments):
        keep, *weights, push, area = row[place : place + j + 3]
        stages.append(_Stage(time, keep, tuple(weights), push, area))
        place += j + 3
    return _Leg(stages, row[place:], sign)
