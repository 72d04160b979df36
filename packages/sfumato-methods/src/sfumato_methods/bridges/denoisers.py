"""Denoisers of pinned processes: a network that is shown a state beside its source."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from sfumato import Denoiser, Dirac, InputError, Posterior, Process
from sfumato.denoiser import NetworkDenoiser
from sfumato.process import CLOCK_LIMIT
from sfumato.state import Time, expand, leaf, to

from .process import Pinned, ResidualDiffusion, Restored

__all__ = ["Blind", "Bridging", "Residuals"]


class Bridging(NetworkDenoiser):
    """A preconditioned network for a pinned process (Zhou et al. 2023, arXiv:2309.16948, eq. 12).

    The network sees c_in x, of unit variance, beside its source (see `sfumato_nn.beside.Beside`)
    and the clock of the process. With a, b, c the coefficients of the path and the variances and
    covariance of data and source, per element,

        A = a^2 sigma_source^2 + b^2 sigma_data^2 + 2 a b cov + c^2,  c_in = A^(-1/2),
        x_0 = (b sigma_data^2 + a cov)/A x + c_out F,
        c_out^2 = (a^2 (sigma_source^2 sigma_data^2 - cov^2) + sigma_data^2 c^2)/A.

    Args:
        net: called as `net(x, clock, **context)`; it makes its context of the source.
        process: where the coefficients and the clock come from.
        sigma_data: standard deviation of the data, per element.
        sigma_source: of the sources.
        covariance: of both; 0 where nothing is known about it.
        autocast: dtype for the network's own arithmetic (None: that of its weights).

    Raises:
        InputError: for deviations that are not positive, or a covariance beyond their product.
    """

    def __init__(
        self,
        net: nn.Module,
        process: Pinned,
        *,
        sigma_data: float = 0.5,
        sigma_source: float = 0.5,
        covariance: float = 0.0,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(net, process, autocast=autocast)
        if not (sigma_data > 0 and sigma_source > 0):
            raise InputError(
                f"the deviations of data and source must be positive, but are {sigma_data} and "
                f"{sigma_source}"
            )
        if not abs(covariance) <= sigma_data * sigma_source:
            raise InputError(
                f"a covariance of {covariance} is impossible between deviations {sigma_data} and "
                f"{sigma_source}"
            )
        self.path = process.path
        self.sigma_data, self.sigma_source, self.covariance = sigma_data, sigma_source, covariance

    def forward(self, x: Any, t: Time) -> Dirac:
        if not isinstance(t, Tensor):
            raise InputError("Bridging takes one clock, but was given a mapping of times")
        scale_in, keep, gain = self._coefficients(t)
        out = to(self.output(x * expand(x, scale_in), t), leaf(x).dtype)
        return Dirac(x * expand(x, keep) + out * expand(x, gain))

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c_in, c_skip, c_out), float64."""
        a, b, c = self.path.shares(t.double())
        data, source, both = self.sigma_data**2, self.sigma_source**2, self.covariance
        total = a.square() * source + b.square() * data + 2 * a * b * both + c.square()
        left = a.square() * (source * data - both**2) + data * c.square()
        scale_in = total.rsqrt()
        return scale_in, (b * data + a * both) / total, left.sqrt() * scale_in

    def weight(self, process: Process, t: Tensor) -> Tensor:
        """1/c_out^2: the loss of what the network predicts; bounded where c_out is 0."""
        _, _, gain = self._coefficients(t)
        return gain.clamp_min(self.sigma_data * math.exp(-CLOCK_LIMIT)).square().reciprocal()


class Blind(Denoiser):
    """A denoiser that is not told the source: what it learns moves one law to another.

    Args:
        denoiser: takes all conditions but `source`.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def given(self, **condition: Any) -> Self:
        condition.pop("source", None)
        view = copy.copy(self)
        view._modules = dict(self._modules)  # the copy shares this dictionary
        view.denoiser = self.denoiser.given(**condition) if condition else self.denoiser
        return view

    def forward(self, x: Any, t: Time) -> Posterior:
        posterior: Posterior = self.denoiser(x, t)
        return posterior


class Residuals(NetworkDenoiser):
    """A network that predicts the residual, the noise, or both, for `ResidualDiffusion`.

    With A, B the coefficients of x_t = x_0 + A res + B eps and F the output, the clean state is

    - res: source - F.
    - eps: (x - A source - B F)/(1 - A); the source itself where A = 1, as F then tells nothing.
    - both, F = (res, eps) along dimension 1: x - A res - B eps, together with res (`Restored`).

    (Liu et al. 2024, arXiv:2308.13712, section 3.) The network is told A and B apart, so that both
    may follow other schedules after training: B by the clock of the process, A by one more channel
    of the state.

    Args:
        net: called as `net(x, clock, **context)`, x with one channel more than the state.
        process: residual diffusion.
        predict: what the network returns.
        autocast: dtype for the network's own arithmetic (None: that of its weights).

    Raises:
        InputError: for another prediction.
    """

    def __init__(
        self,
        net: nn.Module,
        process: ResidualDiffusion,
        predict: Literal["res", "eps", "both"] = "res",
        *,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(net, process, autocast=autocast)
        if predict not in ("res", "eps", "both"):
            raise InputError(f"Residuals predict res, eps or both, not {predict!r}")
        self.path = process.path
        self.predict = predict
        self._source: Any = None

    def given(self, **condition: Any) -> Self:
        view = super().given(**condition)
        view._source = condition.get("source")
        return view

    def forward(self, x: Any, t: Time) -> Dirac:
        if not isinstance(x, Tensor) or not isinstance(t, Tensor):
            raise InputError("Residuals take a tensor of channels and one clock")
        if self._source is None:
            raise InputError("Residuals need the source: say denoiser.given(source=x1) first")
        a, _, c = self.path.shares(t.double())
        share, level = expand(x, a), expand(x, c)
        shown = torch.cat([x, share.expand_as(x)[:, :1]], 1)
        out = to(self.output(shown, t), x.dtype)
        source = self._source.to(x)
        if self.predict == "res":
            return Dirac(source - out)
        if self.predict == "both":
            residual, noise = out.chunk(2, 1)
            return Restored(x - residual * share - noise * level, residual, source)
        left = expand(x, torch.where(1 - a > 1e-6, 1 - a, torch.inf))
        clean = (x - source * share - out * level) / left
        return Dirac(torch.where(left.isinf(), source, clean))
