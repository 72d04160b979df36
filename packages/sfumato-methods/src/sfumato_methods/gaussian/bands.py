r"""Noise by frequency: blurring diffusion, and noise of any colour.

In the coordinates y = C x of the orthonormal cosine transform of the last two dimensions,
y_t = alpha_f(t) y_0 + sigma_f(t) eps, a `Gaussian` process of its own at each frequency
f = (i, j) of an H x W grid:

    alpha_f = alpha d_f,  d_f = floor + (1 - floor) exp(-lam_f tau),  tau = blur^2/2 sin^2(pi t/2)
    sigma_f = sigma w_f,  lam_f = pi^2 (i^2/H^2 + j^2/W^2)

(Hoogeboom & Salimans 2022, arXiv:2209.05557, section 4.1: heat dissipation of a length that grows
to `blur` pixels). The weights w_f are 1 for white noise, else a power of the frequency.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from sfumato import (
    Can,
    Dirac,
    Implicit,
    InputError,
    Law,
    Mixture,
    Normal,
    Posterior,
    Preconditioned,
    Process,
    Unsupported,
    kl,
    random,
)
from sfumato.state import Time, leaf, scale, to

from ..terms import plus
from .process import Gaussian, Step, one_clock
from .schedules import Cosine, Schedule

__all__ = ["Bands", "Banded", "Frequencies", "InBands", "blurring", "dct", "idct"]


@dataclass(frozen=True)
class Bands:
    """alpha_f and sigma_f of an H x W grid at times (..., 1, 1), a schedule of (..., H, W)."""

    base: Schedule
    blur: float
    floor: float
    colour: float
    height: int
    width: int

    def _squares(self, t: Tensor) -> Tensor:
        """(H, W) of lam_f."""
        rows, columns = (
            (torch.arange(n, dtype=torch.float64, device=t.device) * (math.pi / n)).square()
            for n in (self.height, self.width)
        )
        return rows[:, None] + columns

    def _weights(self, t: Tensor) -> Tensor:
        """(H, W) w_f, of mean square 1."""
        power = (self._squares(t) + (math.pi / max(self.height, self.width)) ** 2) ** self.colour
        return (power / power.mean()).sqrt()

    def _kept(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """d_f and its derivative in t."""
        angle, half = 0.5 * math.pi * t, 0.5 * self.blur**2
        lam = self._squares(t)
        decay = (1 - self.floor) * torch.exp(-lam * half * torch.sin(angle).square())
        rate = half * math.pi * torch.sin(angle) * torch.cos(angle)
        return self.floor + decay, -lam * rate * decay

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data at each frequency."""
        return self.base.alpha(t) * self._kept(t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        """Scale of the noise at each frequency."""
        return self.base.sigma(t) * self._weights(t)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of both."""
        alpha_rate, sigma_rate = self.base.rates(t)
        kept, kept_rate = self._kept(t)
        return alpha_rate * kept + self.base.alpha(t) * kept_rate, sigma_rate * self._weights(t)

    def logsnr(self, t: Tensor) -> Tensor:
        """log(alpha_f^2 / sigma_f^2)."""
        return self.base.logsnr(t) + 2 * (self._kept(t)[0].log() - self._weights(t).log())

    def time(self, logsnr: Tensor) -> Tensor:
        """There is one inverse for each frequency, so none for all."""
        raise Unsupported("noise by frequency has no single time for a log-SNR; use grids.uniform")


class InBands(Posterior):
    """A law of x whose difference from `origin` has the cosine transform `law`.

    Args:
        law: of the cosine transform.
        origin: state; None: 0.
    """

    __slots__ = ("law", "origin")

    def __init__(self, law: Any, origin: Tensor | None = None) -> None:
        self.law, self.origin = law, origin

    def _back(self, y: Tensor) -> Tensor:
        return idct(y) if self.origin is None else plus(1.0, self.origin, idct(y))

    @property
    def mean(self) -> Tensor:
        return self._back(self.law.mean)

    def sample(self, generator: random.Source) -> Tensor:
        return self._back(self.law.sample(generator))

    def nll(self, x: Tensor) -> Tensor:
        found: Tensor = self.law.nll(dct(x if self.origin is None else x - self.origin))
        return found


@kl.register
def _(p: InBands, q: Any) -> Tensor:
    if not isinstance(q, InBands) or p.origin is not q.origin:
        return kl.dispatch(object)(p, q)
    return kl(p.law, q.law)


class Frequencies(Process):
    """A Gaussian process at each frequency of the last two dimensions (..., H, W).

    Args:
        base: alpha and sigma of the lowest frequency.
        blur: length of the blur at t = 1, in pixels; 0: none.
        floor: the least that is left of a frequency, in (0, 1].
        colour: the noise has variance proportional to frequency^(2 colour): 0 is white, -1 pink.

    Raises:
        InputError: for a blur that is negative or a floor outside (0, 1].
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.LIKELIHOOD
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac, Normal, Mixture, Implicit, InBands)

    def __init__(
        self, base: Schedule, blur: float = 0.0, floor: float = 0.001, colour: float = 0.0
    ) -> None:
        super().__init__()
        if not (blur >= 0 and 0 < floor <= 1 and math.isfinite(blur + colour)):
            raise InputError(
                f"Frequencies takes blur >= 0, floor in (0, 1] and a finite colour, not {blur}, "
                f"{floor} and {colour}"
            )
        self.base, self.blur, self.floor, self.colour = base, blur, floor, colour

    def extra_repr(self) -> str:
        options = f"blur={self.blur}, floor={self.floor}, colour={self.colour}"
        return f"{self.base!r}, {options}"

    def bands(self, like: Any) -> Gaussian:
        """The process of the cosine transform of states like this one."""
        if not isinstance(like, Tensor) or like.ndim < 3:
            kind = f"{like.ndim} dimensions" if isinstance(like, Tensor) else type(like).__name__
            raise InputError(f"{self} takes tensors (B, ..., H, W), not {kind}")
        height, width = like.shape[-2:]
        return Gaussian(Bands(self.base, self.blur, self.floor, self.colour, height, width))

    def clock(self, t: Time) -> Tensor:
        return Gaussian(self.base).clock(t)

    def prior(self, like: Any) -> InBands:
        one = torch.ones((), dtype=torch.float64)
        return self.marginal(torch.zeros_like(like), one)

    def marginal(self, x0: Any, t: Time) -> InBands:
        return InBands(self.bands(x0).marginal(dct(x0), aligned(x0, t)))

    def plan(self, grid: Time) -> Sequence[Row]:
        times = one_clock(grid)
        steps = _Steps(self, times)
        return [(steps, i) for i in range(len(times) - 1)]

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Row | None = None) -> InBands:
        return self._stepped(Dirac(dct(x0)), x, t, s, row)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Row | None = None) -> Law:
        if isinstance(q, Mixture):
            return Mixture(q.probs, [self.transition(p, x, t, s, row) for p in q.parts])
        if isinstance(q, InBands) and q.origin is None:
            return self._stepped(q.law, x, t, s, row)
        if isinstance(q, Dirac):
            return self._stepped(Dirac(dct(q.mean)), x, t, s, row)
        return super().transition(q, x, t, s, row)

    def _stepped(self, q: Any, x: Tensor, t: Time, s: Time, row: Row | None) -> InBands:
        """The transition told as the way from x, so that what rests stays to the bit."""
        if row is None:
            bands = self.bands(x)
            data, keep, std = bands._step(aligned(x, t), aligned(x, s))
            step = Step(data, keep - 1, std)
        else:
            bands, step = row[0].at(x, row[1])
        return InBands(bands.transition(q, dct(x), t, s, step), x)

    def plan_velocity(self, grid: Time) -> Sequence[Tensor]:
        return list(one_clock(grid))

    def velocity(self, q: Any, x: Any, t: Time, row: Tensor | None = None) -> Tensor:
        time = aligned(x, t if row is None else row)
        return idct(self.bands(x).velocity(Dirac(dct(q.mean)), dct(x), time))

    def score(self, q: Any, x: Any, t: Time) -> Tensor:
        return idct(self.bands(x).score(Dirac(dct(q.mean)), dct(x), aligned(x, t)))


class _Steps:
    """The coefficients of all steps of a grid, made when the size of the states is seen."""

    def __init__(self, process: Frequencies, grid: Tensor) -> None:
        self._process, self._grid = process, grid
        self._found: dict[tuple[Any, ...], tuple[Gaussian, list[Step]]] = {}

    def at(self, x: Tensor, place: int) -> tuple[Gaussian, Step]:
        """The process of the transform of states like x, and the coefficients of one step."""
        kind = (x.ndim, *x.shape[-2:], x.dtype, x.device)
        if kind not in self._found:
            aligned(x, self._grid[0])
            times = self._grid.reshape(self._grid.shape + (1,) * (x.ndim + 1 - self._grid.ndim))
            bands = self._process.bands(x)
            data, keep, std = bands._step(times[:-1], times[1:])
            columns = (c.to(x) for c in (data, keep - 1, std))  # once, and not in every step
            self._found[kind] = bands, list(map(Step, *columns))
        bands, steps = self._found[kind]
        return bands, steps[place]


Row: TypeAlias = tuple[_Steps, int]


class Banded(Preconditioned):
    """A network for `Frequencies`, preconditioned at each frequency; arguments as its base has.

    Args:
        net: the network; it sees and returns images.
        process: the process.
    """

    def __init__(self, net: Any, process: Frequencies, *args: Any, **options: Any) -> None:
        super().__init__(net, Gaussian(process.base), *args, **options)
        self.frequencies = process

    def forward(self, x: Any, t: Time) -> Dirac:
        bands, times = self.frequencies.bands(x), aligned(x, t)
        keep, gain, scale_in = self._coefficients(bands.alpha(times), bands.sigma(times))
        y = dct(x)
        out = to(self.output(idct(scale(scale_in, y)), t), leaf(x).dtype)
        return Dirac(idct(scale(keep, y) + scale(gain, dct(out))))


def aligned(x: Tensor, t: Time) -> Tensor:
    """A time with trailing dimensions of one, which every frequency then fills."""
    time = one_clock(t)
    if time.ndim > x.ndim - 2:
        raise InputError(
            f"a time of shape {tuple(time.shape)} does not fit a state of shape {tuple(x.shape)} "
            "whose last two dimensions are frequencies"
        )
    return time.reshape(time.shape + (1,) * (x.ndim - time.ndim))


@functools.lru_cache(maxsize=64)
def _cosines(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, n) orthonormal DCT-II, made in float64: row k is cos(pi k (i + 1/2)/n), scaled."""
    with torch.inference_mode(False):  # what is kept must serve gradients later
        return _cosine_table(size).to(device, dtype)


def _cosine_table(size: int) -> Tensor:
    i = torch.arange(size, dtype=torch.float64)
    table = torch.cos(math.pi / size * i[:, None] * (i + 0.5)) * math.sqrt(2 / size)
    table[0] *= math.sqrt(0.5)
    return table


def dct(x: Tensor) -> Tensor:
    """Orthonormal cosine transform of the last two dimensions."""
    rows, columns = (_cosines(n, x.dtype, x.device) for n in x.shape[-2:])
    return rows @ x @ columns.mT


def idct(y: Tensor) -> Tensor:
    """The inverse of `dct`."""
    rows, columns = (_cosines(n, y.dtype, y.device) for n in y.shape[-2:])
    return rows.mT @ y @ columns


def blurring(blur: float = 20.0, floor: float = 0.001) -> Frequencies:
    """`Frequencies(Cosine(0), blur, floor)`, the defaults of Hoogeboom & Salimans 2022."""
    return Frequencies(Cosine(0.0), blur, floor)
