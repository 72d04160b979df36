"""A network of diffusers as a denoiser."""

from __future__ import annotations

__all__ = ["Call", "DiffusersDenoiser"]

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from sfumato import Dirac, InputError, Preconditioned, Process, expand
from sfumato.state import Time, axpy, scale

from .conventions import Convention


class Call(NamedTuple):
    """One call of the network: it sees `scale` x and `timestep`; x_0 is keep x + gain output."""

    keep: Any
    gain: Any
    scale: Any
    timestep: Any


class DiffusersDenoiser(Preconditioned):
    """Calls a network of diffusers as its scheduler would, and reads what it returns.

    The network is told the timestep that the clock of the convention has for log(sigma/alpha), and
    its input is brought to the scale that it was trained at, so that it can be sampled under any
    affine process. Conditions are encoded once, by its adapter: `given(label=...)`,
    `given(prompt=...)`, or the tensors that the network takes, by their names in diffusers.

    Args:
        net: the network, in its `Adapter`.
        convention: how it is called and read.
        process: another than it was trained on, to sample under; needs AFFINE.
    """

    def __init__(
        self, net: nn.Module, convention: Convention, process: Process | None = None
    ) -> None:
        super().__init__(
            net,
            process or convention.process,
            convention.predict,
            sigma_data=convention.sigma_data,
        )
        self.convention = convention

    def given(self, **condition: Any) -> Self:
        # what a network is told without a condition, such as its empty prompt, is encoded too
        view = super().given()
        encode: Any = self.net.encode
        view._context = encode(**condition)
        return view

    def forward(self, x: Tensor, t: Time) -> Dirac:
        if not isinstance(t, Tensor) or t.ndim > 1:
            raise InputError("a network of diffusers has one clock: a time of shape () or (B,)")
        keep, gain, scale_in, told = self.call(t)
        timestep = told.to(x.device, torch.float32).expand(len(x))
        if t.ndim == 0 and not t.requires_grad:
            keep, gain, scale_in = float(keep), float(gain), float(scale_in)
        else:
            keep, gain = expand(x, keep), expand(x, gain)
        weight = next(self.net.parameters(), x)
        output = self.net(scale(scale_in, x).to(weight.dtype), timestep, **self._context)
        return self.read(x, output, keep, gain)

    def call(self, t: Tensor) -> Call:
        """What the network is called with at times of any shape, and how it is read; float64."""
        process: Any = self.process
        alpha, sigma = process.alpha(t), process.sigma(t)
        keep, gain, scale_in = self._coefficients(alpha, sigma)
        if self.predict == "flow":  # these networks see the state of the straight line itself
            scale_in = 1 / (alpha + sigma)
        timestep = self.convention.clock.timestep((sigma / alpha).log())
        return Call(keep, self.convention.sign * gain, scale_in, timestep)

    def read(self, x: Tensor, output: Tensor, keep: Any, gain: Any) -> Dirac:
        """The posterior from a state and what the network returned for it."""
        limit = self.convention.limit
        output = output.to(x.dtype)
        if isinstance(gain, float):
            x0 = axpy(gain, output, x * keep)
        else:
            x0 = torch.addcmul(x * keep, output, gain)
        return Dirac(x0 if limit is None else limit(x0))
