"""EVODiff: predictor and corrector of one call a step, mixing differences by their variance.

Li et al. 2025, arXiv:2509.26096. With m_i = D(x_i, t_i), data prediction, the predictor is that of
DPM-Solver++(2M); the call at the predicted state corrects the step just taken and serves the next.
What is yielded are predicted states; the corrected ones begin the next step and are not shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, InputError, Multistep, Process
from sfumato.process import rows
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, apply, axpy, scale

from ..terms import plus
from .affine import exponential
from .ersde import interior
from .linear import absent, gram, inner, paces

__all__ = ["EVODiff", "EVODiffRelease"]

_TINY = 1e-300


@dataclass(frozen=True)
class EVODiff(Multistep):
    """The consistent variant: EVODiff without the constants that were tuned on images.

    Two estimates of the change of D over a step, p = (m_{i-1} - m_{i-2})/r, extrapolated, and d =
    m_i - m_{i-1}, are mixed to B = (1 - eta) d + eta p with the eta in [0, 1/2] at which |B|^2 is
    least, item by item in float64 (the released eta never exceeds 1/2 either); the step is x_i =
    keep x_{i-1} + data (m_{i-1} + B/2). Balance factors are 1, so that constants are kept: second
    order. The first step, a step after a rest and steps from or to an end where log-SNR is infinite
    are predicted with first order.
    """

    needs: ClassVar[Can] = Can.AFFINE
    memory: ClassVar[int] = 3

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        keep, data = exponential(process, grid)
        usable, pull = paces(process, grid)
        slope = torch.where(usable, 0.5 * data, 0.0)
        zero = torch.zeros_like(keep[:1])
        last_slope, last_pull = (torch.cat([zero, v[:-1]]) for v in (slope, pull))
        # what corrects x_i reaches x_{i+1} times keep, and not at all where nothing of x is kept
        return rows(grid, keep, data, slope * pull, keep * last_slope, last_pull)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        keep, data, slope, last_slope, last_pull = row
        now = past[-1]
        mean = now.posterior.mean
        x = plus(data, mean, scale(keep, now.x))
        if len(past) == 1:
            return x
        before = past[-2].posterior.mean
        change = mean - before
        x = plus(slope, change, x)
        if absent(last_slope):
            return x
        if len(past) == 2 or absent(last_pull):
            return plus(last_slope, change, x)
        # the step just taken, predicted with p, was to be B: (1 - eta) (d - p) is missing
        gap = axpy(-last_pull, before - past[-3].posterior.mean, change)
        overlap, size = gram(change, gap)[:, 1].unbind(-1)
        share = ((size - overlap) / size.clamp_min(_TINY)).clamp(0.5, 1)  # 1 - eta
        if isinstance(last_pull, Tensor):  # without an extrapolation there is nothing to mix
            share = share.reshape(-1, *[1] * (last_pull.ndim - 1))
            share = torch.where(last_pull > 0, share, 1.0)
        return plus(share * last_slope, gap, x)


class _Row(NamedTuple):
    kind: str  # rest, euler, middle or last
    keep: float
    data: float
    part: float  # data/alpha
    rise: float  # 1/l' - 1/l
    balance: float  # sqrt of this ratio of noise levels to the one before
    weight: float  # w: of the projection against `balance`
    pace: float  # r: the step before to this one, in log l
    ratio: float  # l'/l
    shrink: float  # 1 - sqrt(l' l), used by the last step


@dataclass(frozen=True)
class EVODiffRelease(Multistep):
    """The released code for EDM (October 2025), with its constants: for comparison.

    In l = sigma/alpha: balance factors b between sqrt of ratios of noise levels and projections of
    predictions, sigmoids of the optimal eta and zeta, another branch above 20 steps, and two
    constants in the last step before 0. Since b is not 1, a D that does not change gives a state
    that does: the method is not consistent, and l has to be in the units of the release (data of
    standard deviation 0.5, l from 80 to 0.002). Inner products per item and channel, in float64. A
    grid that ends in 0 ends in the posterior mean (its `denoise_to_zero`). One time for all items.
    """

    needs: ClassVar[Can] = Can.AFFINE
    memory: ClassVar[int] = 3

    def plan(self, process: Any, grid: Any) -> Sequence[Any]:
        if grid.ndim > 1:
            raise InputError("EVODiffRelease takes one time for all items; use EVODiff")
        keep, data = exponential(process, grid)
        inside, level = interior(process, grid)
        usable = (inside[1:] & inside[:-1] & (grid[1:] != grid[:-1])).tolist()
        alpha, levels = process.alpha(grid).tolist(), level.tolist()
        real = [v for v, fine in zip(levels, inside.tolist(), strict=True) if fine]
        low, high = (min(real), max(real)) if real else (1.0, 1.0)
        steps = sum(usable)
        found: list[tuple[_Row, _Row | None, bool]] = []
        for i, (k, d) in enumerate(zip(keep.tolist(), data.tolist(), strict=True)):
            row = _Row("euler", k, d, 0, 0, 0, 0, 0, 0, 0)
            if grid[i] == grid[i + 1]:
                row = row._replace(kind="rest")
            elif usable[i] and i and usable[i - 1]:
                last = i + 1 == len(usable) or not any(usable[i + 1 :])
                row = self._row(levels[i - 1 : i + 2], low, high, k, d, alpha[i + 1], last)
            before = found[-1][0] if found and found[-1][0].kind == "middle" else None
            found.append((row, before, steps > 20))
        return found

    @staticmethod
    def _row(
        levels: list[float], low: float, high: float, keep: float, data: float, alpha: float,
        last: bool,
    ) -> _Row:  # fmt: skip
        old, now, new = levels
        normal = (new + low) / (high + low)
        return _Row(
            "last" if last else "middle",
            keep,
            data,
            data / alpha,
            1 / new - 1 / now,
            math.sqrt((new / now) / (now / old)),
            0.5 * (1 - normal * normal),
            math.log(old / now) / math.log(now / new),
            new / now,
            1 - math.sqrt(new * now),
        )

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        now, before, many = row
        x, means = past[-1].x, [p.posterior.mean for p in past]
        if now.kind == "rest":
            return x
        if before is not None:
            x = x + self._corrected(before, means, many)
        euler = axpy(now.data, means[-1], scale(now.keep, x))
        if now.kind == "euler":
            return euler
        if now.kind == "last":
            inner_ratio = now.ratio if now.ratio < 0.5 else now.ratio - 0.5
            gap = axpy(-(1 - 0.5 * math.sqrt(inner_ratio)), means[-2], means[-1])
            return axpy(0.5 * now.data, gap, euler * now.shrink)
        gap, factor = self._predicted(now, means[-1], means[-2])
        return euler + scale(0.5 * now.data / factor, gap)

    @staticmethod
    def _difference(row: _Row, new: Any, old: Any) -> tuple[Any, Tensor]:
        """(D = new - b old, b)."""
        b = (1 - row.weight) * row.balance + row.weight * _projection(new, old)
        return new - scale(b, old), b

    def _predicted(self, row: _Row, new: Any, old: Any) -> tuple[Any, Tensor]:
        """(D1, r_i)."""
        gap, b = self._difference(row, new, old)
        factor = torch.sigmoid(0.25 * b.abs()) * row.pace
        return gap, factor.clamp(0.25 * row.pace, 1.5 * row.pace)

    def _corrected(self, row: _Row, means: list[Any], many: bool) -> Any:
        """What the corrector adds to the predicted state, from D at it and the two before."""
        old, now, new = means
        first, factor = self._predicted(row, now, old)
        second, _ = self._difference(row, new, now)
        ahead, behind = scale(row.pace, second), scale(1 / row.pace, first)
        best = 0.5 * _projection(ahead + behind, ahead - behind)
        eta = 0.5 * torch.sigmoid(best.abs())
        mixed = scale(1 - eta, ahead) - scale(eta, behind)
        missed = scale(0.5 * row.part / factor, first - mixed)
        shift = (_projection(missed, first) / row.part).abs() - 0.5
        if many:
            change = scale(1 / row.rise, now - old)
            shift = -shift * torch.sigmoid(_projection(now, change) * (2 - row.ratio**2))
        zeta = torch.sigmoid(shift)
        return scale(0.5 * row.data / zeta, mixed) - scale(0.5 * row.data / factor, first)


def _projection(a: Any, b: Any) -> Tensor:
    """<a, b>/<b, b> by item and channel, clipped to [-2, 2]."""
    share: Tensor = (_inner(a, b) / _inner(b, b).clamp_min(_TINY)).clamp(-2, 2)
    return share


def _inner(a: Any, b: Any) -> Tensor:
    """(B, C) inner products over pixels for tensors (B, C, ...), else (B,)."""
    if isinstance(a, Tensor) and a.ndim > 2:
        products: Tensor = apply(a, lambda u, v: u.double() * v.double(), b)
        return products.flatten(2).sum(2)
    found: Tensor = inner(a, b)
    return found
