"""Geometry of sampling trajectories (Chen et al. 2023, arXiv:2305.19947).

Where alpha = 1 (`edm`, `ve`) a deterministic trajectory from noise to data is nearly a straight
line, and the predictions D(x_t, t) along it, the denoising trajectory, reach its end before it
does: an Euler step is x_s = (sigma_s/sigma_t) x_t + (1 - sigma_s/sigma_t) D. For the exact denoiser
of a finite set D is one mean-shift step, and how far a network's D is from that one tells what it
does not remember. Trajectories are measured in the coordinates of their process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato import Can, Denoiser, Dirac, Frame, InputError, Process, Unsupported, expand
from sfumato.process import check_time
from sfumato.sampling import Denoise
from sfumato.state import Time, item_sum

from .layout import Rows, values

__all__ = [
    "Empirical", "Path", "chord_angle", "chord_deviation", "excess_length", "jumped", "mean_shift",
    "record", "relative_distance", "score_deviation",
]  # fmt: skip


class Path(NamedTuple):
    """A trajectory of B items in N steps, with D numbers in the largest item.

    Attributes:
        times: N + 1 times, the first of the start.
        states: (N + 1, B, D) the sampling trajectory.
        means: (N, B, D) the denoising trajectory: the posterior mean at the start of each step.
    """

    times: list[Any]
    states: Tensor
    means: Tensor


def record(frames: Iterable[Frame]) -> Path:
    """The trajectory that `sfumato.run` walks, kept whole.

    Args:
        frames: what `run` yields; memory is that of 2 N + 1 states.

    Raises:
        InputError: if there is no frame.
    """
    times: list[Any] = []
    states: list[Tensor] = []
    means: list[Tensor] = []
    rows = None
    for frame in frames:
        if rows is None:
            rows = Rows(frame.before)
            times, states = [frame.t], [rows.of(*values(frame.before))]
        times.append(frame.s)
        states.append(rows.of(*values(frame.after)))
        means.append(rows.of(*values(frame.posterior.mean)))
    if rows is None:
        raise InputError("there is no trajectory to record: the run yields no frame")
    return Path(times, torch.stack(states), torch.stack(means))


def chord_deviation(states: Tensor) -> Tensor:
    """(N + 1, B) distance of each state from the chord, in units of the chord's length.

    The chord is the segment from the first state to the last; distances are to its line.

    Args:
        states: (N + 1, B, D), as of a `Path`.
    """
    chord, length = _chord(states)
    way = states - states[0]
    along = (way * chord).sum(-1, keepdim=True) / length.square()[:, None]
    found: Tensor = (way - along * chord).norm(dim=-1) / length
    return found


def excess_length(states: Tensor) -> Tensor:
    """(B,) length of the trajectory over that of its chord, minus 1.

    Args:
        states: (N + 1, B, D), as of a `Path`.
    """
    found: Tensor = states.diff(dim=0).norm(dim=-1).sum(0) / _chord(states)[1] - 1
    return found


def chord_angle(states: Tensor) -> Tensor:
    """(N, B) angle between each step and the chord, in radians from 0 to pi.

    Args:
        states: (N + 1, B, D), as of a `Path`; a step that rests has angle 0.
    """
    (chord, length), step = _chord(states), states.diff(dim=0)
    size = step.norm(dim=-1)
    unit, axis = step / size.clamp_min(1e-300)[..., None], chord / length[:, None]
    # the arc between unit vectors by their difference and sum, exact for small angles too
    angle = 2 * torch.atan2((unit - axis).norm(dim=-1), (unit + axis).norm(dim=-1))
    return torch.where(size > 0, angle, 0.0)


def _chord(states: Tensor) -> tuple[Tensor, Tensor]:
    chord = states[-1] - states[0]
    length: Tensor = chord.norm(dim=-1)
    if bool((length == 0).any()):
        raise InputError("a trajectory ends where it began, so that it has no chord")
    return chord, length


def relative_distance(points: Tensor, end: Tensor) -> Tensor:
    """(N,) root mean square distance of all items to their ends, relative to that of the ends to 0.

    Args:
        points: (N, B, D), states or means of a `Path`.
        end: (B, D), where the trajectory ends.
    """
    found: Tensor = ((points - end).square().mean((1, 2)) / end.square().mean()).sqrt()
    return found


def score_deviation(frames: Iterable[Frame], denoiser: Denoise) -> Tensor:
    """(N, B) distance of the posterior means of a run from those of another denoiser.

    Args:
        frames: what `run` yields.
        denoiser: what is compared with, such as `Empirical` of the training set: where the two
            agree the model draws what it was trained on.
    """
    found = []
    for frame in frames:
        gap = frame.posterior.mean - denoiser(frame.before, frame.t).mean
        found.append(item_sum(gap * gap).sqrt())
    return torch.stack(found)


def mean_shift(x: Tensor, data: Tensor, bandwidth: Tensor | float) -> Tensor:
    """(B, D) one step of mean shift: sum_i w_i y_i with Gaussian weights exp(-|x - y_i|^2 / 2h^2).

    It climbs the kernel density of the data, m(x) = x + h^2 grad log p_h(x) (Cheng 1995).

    Args:
        x: (B, D).
        data: (n, D).
        bandwidth: h, or (B,) of them; at 0 the result is the nearest of the data.
    """
    h = torch.as_tensor(bandwidth, dtype=torch.float64, device=x.device).reshape(-1, 1)
    h = h.clamp_min(1e-150)  # whose square is above 0
    # by differences: |x|^2 - 2 x.y + |y|^2 would lose what a small bandwidth needs
    apart = torch.cdist(
        x.double(), data.double(), compute_mode="donot_use_mm_for_euclid_dist"
    ).square()
    nearest = apart.detach().amin(1, keepdim=True)
    weights = (-0.5 * (apart - nearest) / h.square()).softmax(1)
    return (weights @ data.double()).to(x)


class Empirical(Denoiser):
    """The exact denoiser of a finite set: mean shift of x/alpha with bandwidth sigma/alpha.

    What it samples is the set itself; a network that comes near it has learned the set by heart.

    Args:
        process: needs AFFINE and GAUSSIAN.
        data: (n, ...) the set.

    Raises:
        Unsupported: if the process has other noise.
    """

    data: Tensor

    def __init__(self, process: Process, data: Tensor) -> None:
        super().__init__()
        if missing := (Can.AFFINE | Can.GAUSSIAN) & ~process.can:
            raise Unsupported(
                f"Empirical needs {missing.names()}; {process} can {process.can.names()}"
            )
        self.process = process
        self.register_buffer("data", data)

    def forward(self, x: Tensor, t: Time) -> Dirac:
        """The posterior mean: (B, ...)."""
        process: Any = self.process
        # where alpha is 0 the distances lose the data, as they should: all weights are equal
        alpha, sigma = process.alpha(t).clamp_min(1e-12), process.sigma(t)
        moved = (x.double() / expand(x, alpha).double()).flatten(1)
        mean = mean_shift(moved, self.data.flatten(1), sigma / alpha)
        return Dirac(mean.reshape(x.shape).to(x))


def jumped(grid: Tensor, last: float) -> Tensor:
    """A grid cut short (ODE-Jump): its times down to `last`, then 0 in one step.

    A deterministic sampler returns the posterior mean there, so that the steps saved are those in
    which the denoising trajectory has already arrived (Chen et al. 2023, section 5). On the exact
    denoiser of a mixture a grid made for as few calls comes nearer to the data than a jump does:
    `jump-equal` in the record of the system `geom`.

    Args:
        grid: (N + 1,) descending to 0.
        last: the time to jump from; times of the grid that are not below it stay.

    Raises:
        InputError: if the grid does not descend to 0, or has no time from `last` up.
    """
    check_time(grid)
    if grid.ndim != 1 or float(grid[-1]) != 0 or bool((grid.diff() > 0).any()):
        raise InputError("only a shared grid that descends to 0 can be cut short")
    kept = grid[(grid >= last) & (grid > 0)]
    if not len(kept):
        raise InputError(f"the grid has no time from {last:g} up; its first is {float(grid[0]):g}")
    return torch.cat([kept, kept.new_zeros(1)])
