"""Diffusion around a reference that is made of what an item comes with, and may be learned.

Han et al. 2024, arXiv:2410.13027 (GeoTDM): the prior of a trajectory is noise around an equivariant
function of the frames that are given. Whatever symmetry the reference and the network have, the
model has.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from sfumato import Dirac, InputError, Process
from sfumato.denoiser import NetworkDenoiser
from sfumato.laws import Space
from sfumato.process import CLOCK_LIMIT
from sfumato.state import Time, expand, leaf, to

from ..gaussian import Schedule
from .paths import Around
from .process import Pinned

__all__ = ["Referenced", "Referring"]


class Referenced(Pinned):
    """`Pinned` `Around` a reference: given a source, the path ends in noise around what it says.

    The weights of the reference are part of the process, and trained through x_t.

    Args:
        reference: maps the condition `source` to a state like the data.
        schedule: of x - reference; alpha(1) has to be about 0.
        space: subspace of the noise.
    """

    def __init__(
        self, reference: nn.Module, schedule: Schedule, space: Space | None = None
    ) -> None:
        super().__init__(Around(schedule), space)
        self.reference = reference

    def given(self, **context: Any) -> Self:
        view = super().given(**context)
        if context:
            view._source = self.reference(context["source"])
        return view


class Referring(NetworkDenoiser):
    """A preconditioned network for `Referenced`, which sees the state where it is.

    With y = x - reference, x_0 = reference + c_skip y + c_out F; c_skip and c_out are those of
    Karras et al. 2022, arXiv:2206.00364, table 1, for the schedule of y. The network is called with
    x itself and the condition `source`: when it moves and turns its output with them, so does the
    denoiser.

    Args:
        net: the network; it makes its context of the source.
        process: where the reference and the schedule come from.
        sigma_data: standard deviation of x_0 - reference, per element.
        autocast: dtype for the network's own arithmetic (None: that of its weights).

    Raises:
        InputError: for a deviation that is not positive.
    """

    def __init__(
        self,
        net: nn.Module,
        process: Referenced,
        *,
        sigma_data: float = 1.0,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(net, process, autocast=autocast)
        if not sigma_data > 0:
            raise InputError(f"sigma_data must be positive, but is {sigma_data}")
        self.sigma_data = sigma_data
        self._reference: Any = None

    def given(self, **condition: Any) -> Self:
        view = super().given(**condition)
        assert isinstance(self.process, Referenced)
        view._reference = self.process.reference(condition["source"])
        return view

    def forward(self, x: Any, t: Time) -> Dirac:
        if self._reference is None:
            raise InputError("Referring needs the source: say denoiser.given(source=...) first")
        if not isinstance(t, Tensor):
            raise InputError("Referring takes one clock, but was given a mapping of times")
        keep, gain = self._coefficients(t)
        reference = to(self._reference, leaf(x).dtype)
        out = to(self.output(x, t), leaf(x).dtype)
        return Dirac(reference + (x - reference) * expand(x, keep) + out * expand(x, gain))

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(c_skip, c_out), float64."""
        assert isinstance(self.process, Referenced)
        _, alpha, sigma = self.process.shares(t)
        total = (alpha * self.sigma_data).square() + sigma.square()
        return alpha * self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt()

    def weight(self, process: Process, t: Tensor) -> Tensor:
        """1/c_out^2: the loss of what the network predicts; bounded where c_out is 0."""
        _, gain = self._coefficients(t)
        return gain.clamp_min(self.sigma_data * math.exp(-CLOCK_LIMIT)).square().reciprocal()
