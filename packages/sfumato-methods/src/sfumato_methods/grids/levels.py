"""Grids that are values: published or learned noise levels, for any process that has such."""

from __future__ import annotations

__all__ = ["Levels", "Retimed", "ays_sd", "ays_sdxl", "ays_svd"]

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sfumato import Denoiser, Dirac, InputError, Process
from sfumato.sampling import Denoise
from sfumato.state import Time, axpy, scale

from .fixed import affine, at_levels, counted


@dataclass(frozen=True)
class Levels:
    """A grid by its noise levels, a function of (process, steps) like every grid.

    Args:
        levels: N + 1 values of sigma/alpha, descending, for N steps. The first time is 1 whatever
            the first level is, and the last level becomes 0; other numbers of steps interpolate the
            logarithm linearly (Sabour et al. 2024, arXiv:2404.14507, section 4).
        shifts: N values, or none: what is added to the logarithm of the level that the network is
            told at the start of each step, while the solver keeps its own (Tong et al. 2024,
            arXiv:2405.15506, section 3.3). They hold for N steps only.

    Raises:
        InputError: if the levels do not descend or are not positive, or the numbers do not match.
    """

    levels: tuple[float, ...]
    shifts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        falls = all(a > b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if len(self.levels) < 2 or not falls or not self.levels[-1] > 0:
            raise InputError(
                f"levels are at least two positive numbers that descend, not {self.levels}"
            )
        if len(self.shifts) not in (0, self.steps):
            raise InputError(f"{self.steps} steps take as many shifts, not {len(self.shifts)}")

    @classmethod
    def of(
        cls, process: Process, times: Tensor, sigma_min: float = 0.002, sigma_max: float = 80.0
    ) -> Self:
        """The levels of a grid, for a search to begin with.

        Args:
            process: needs AFFINE.
            times: (N + 1,) descending strictly from 1 to 0.
            sigma_min: the last level, or half the one before where that is smaller.
            sigma_max: the first level, where the process has none that is finite.
        """
        own: Any = affine(process, "by levels")
        ratio = (-0.5 * own.logsnr(times[:-1].double())).exp()
        if not bool(ratio[0].isfinite()):
            ratio[0] = max(sigma_max, 2 * float(ratio[1])) if len(ratio) > 1 else sigma_max
        last = min(sigma_min, 0.5 * float(ratio[-1]))
        return cls((*ratio.tolist(), last))

    @property
    def steps(self) -> int:
        """The number of steps that the levels were made for."""
        return len(self.levels) - 1

    def __call__(self, process: Process, steps: int) -> Tensor:
        """The times: (steps + 1,).

        Raises:
            Unsupported: if the process has no noise levels.
            InputError: if it does not reach the second level, or steps is not positive.
        """
        ratio = self.at(counted(steps))
        one = torch.ones((), dtype=torch.float64)
        end = math.exp(-0.5 * float(affine(process, "by levels").logsnr(one)))
        if steps > 1 and not float(ratio[1]) < end:
            raise InputError(
                f"the levels were made for another process: step 1 begins at sigma/alpha = "
                f"{float(ratio[1]):g}, but {process} ends at {end:g}"
            )
        return at_levels(process, ratio)

    def at(self, steps: int) -> Tensor:
        """(steps,) the levels at the start of each step, interpolated."""
        log = torch.tensor(self.levels, dtype=torch.float64).log()
        at = torch.arange(steps, dtype=torch.float64) * (self.steps / steps)
        left = at.floor().long()
        return torch.lerp(log[left], log[left + 1], at - left).exp()

    def told(self, process: Process, denoiser: Denoise, steps: int) -> Denoise:
        """The denoiser as it has to be called on this grid: `Retimed` if there are shifts.

        Raises:
            InputError: if there are shifts, for another number of steps.
        """
        if not self.shifts:
            return denoiser
        if steps != self.steps:
            raise InputError(
                f"this grid tells the network shifted levels, which were learned for {self.steps} "
                f"steps, not {steps}"
            )
        log = self.at(steps).log()
        return Retimed(denoiser, process, log, torch.tensor(self.shifts, dtype=torch.float64))


class Retimed(Denoiser):
    """A denoiser that is told another noise level than the state has.

    With l the level of the state, as log(sigma/alpha), the network is told l + shift(l), and shown
    the state in the scale of that level, x alpha'/alpha: alpha' and sigma' are those of the level
    told. Of its answer m the noise is kept, eps = (x/alpha - m) alpha'/sigma', so that
    x_0 = (x - sigma eps) / alpha (Tong et al. 2024, arXiv:2405.15506, section 3.3; where alpha is
    not 1 they leave the scale of the state, so that shifts would depend on the schedule).

    Args:
        denoiser: the denoiser, whose posterior mean is used.
        process: needs AFFINE.
        levels: (N,) log(sigma/alpha), descending.
        shifts: (N,) added there; linear between, constant beyond. A gradient may be asked for.
    """

    def __init__(self, denoiser: Denoise, process: Process, levels: Tensor, shifts: Tensor) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = affine(process, "with shifts")
        self.levels, self.shifts = levels.flip(0), shifts.flip(0)

    def given(self, **condition: Any) -> Self:
        inner: Any = self.denoiser
        return type(self)(
            inner.given(**condition), self.process, self.levels.flip(0), self.shifts.flip(0)
        )

    def forward(self, x: Any, t: Time) -> Any:
        if not isinstance(t, Tensor):
            raise InputError("Retimed takes one clock, but was given a mapping of times")
        process: Any = self.process
        # At an end of the range (no data, or no noise) the level cannot be told otherwise. The ends
        # are taken out first: an infinity behind a mask turns gradients into NaN.
        fixed = t.detach().double()
        inner = process.logsnr(fixed).isfinite() & (fixed > 0) & (fixed < 1)
        moment = torch.where(inner, t.double(), 0.5)
        level = -0.5 * process.logsnr(moment)
        other = process.time(-2 * (level + self._shift(level)))
        inner = inner & (other > 0) & (other < 1)
        alpha, sigma = process.alpha(moment), process.sigma(moment)
        resized = torch.where(inner, process.alpha(other) / alpha, 1.0)
        noise = process.sigma(torch.where(inner, other, 0.5))
        share = torch.where(inner, resized * sigma / noise, 1.0)
        q = self.denoiser(scale(resized, x), torch.where(inner, other, t.double()))
        return Dirac(axpy((1 - share) / alpha, x, scale(share, q.mean)))

    def _shift(self, level: Tensor) -> Tensor:
        if len(self.levels) == 1:
            return self.shifts.expand_as(level)
        knots, values = self.levels.to(level.device), self.shifts.to(level.device)
        at = level.clamp(knots[0], knots[-1])
        left = (torch.searchsorted(knots, at.contiguous()) - 1).clamp(0, len(knots) - 2)
        share = (at - knots[left]) / (knots[left + 1] - knots[left])
        return torch.lerp(values[left], values[left + 1], share)


ays_sd = Levels((14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029))
"""Of Stable Diffusion 1.5 (Sabour et al. 2024, arXiv:2404.14507)."""

ays_sdxl = Levels((14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029))
"""Of Stable Diffusion XL (Sabour et al. 2024, arXiv:2404.14507)."""

ays_svd = Levels((700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002))
"""Of Stable Video Diffusion (Sabour et al. 2024, arXiv:2404.14507)."""
