"""Denoisers of pinned processes: a network that is shown a state beside its source."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import Dirac, InputError, Process
from sfumato.denoiser import NetworkDenoiser
from sfumato.process import CLOCK_LIMIT
from sfumato.state import Time, expand, leaf, to

from .process import Pinned

__all__ = ["Bridging"]


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
