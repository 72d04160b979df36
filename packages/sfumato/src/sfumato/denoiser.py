"""Denoisers: from a noisy state and a time to a posterior over the clean data."""

from __future__ import annotations

import copy
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from .errors import InputError, Unsupported
from .laws import Dirac, Posterior
from .process import Can, Process
from .state import Time, expand, items, leaf, to

__all__ = ["Denoiser", "NetworkDenoiser", "Preconditioned", "Prediction"]

Prediction = Literal["x0", "eps", "v", "flow", "score", "edm"]


class Denoiser(nn.Module):
    """Maps (x_t, t) to a `Posterior` over x_0."""

    def forward(self, x: Any, t: Time) -> Posterior:
        """Posterior over the clean data behind `x` at time `t`."""
        raise Unsupported(f"{type(self).__name__} does not implement forward")

    def given(self, **condition: Any) -> Self:
        """A private view bound to a condition; the denoiser itself is left as it was.

        Raises:
            InputError: if it takes no condition.
        """
        if condition:
            raise InputError(
                f"{type(self).__name__} takes no condition; given were {', '.join(condition)}"
            )
        return self


class NetworkDenoiser(Denoiser):
    """Base of denoisers around one network, called as `net(x, clock, **context)`.

    The clock is float32 of shape (B,) or (B, F). Conditions become the context once, in `given`,
    by `net.encode(**condition)` where the network has it.

    Args:
        net: the network.
        process: where the clock comes from.
        autocast: dtype for the network's own arithmetic (None: that of its weights).
    """

    def __init__(
        self, net: nn.Module, process: Process, *, autocast: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.process = process
        self.autocast = autocast
        self._context: dict[str, Any] = {}

    def given(self, **condition: Any) -> Self:
        view = copy.copy(self)  # shares parameters; only the plain attribute below differs
        encode = getattr(self.net, "encode", None)
        view._context = encode(**condition) if condition and encode is not None else condition
        return view

    def output(self, x: Any, t: Time) -> Any:
        """What the network says of a state, cast to its weights' dtype where it is floating."""
        values = leaf(x)
        clock = self.process.clock(t).to(values.device, torch.float32)
        if clock.ndim == 0:
            clock = clock.expand(items(x))
        weight = next(self.net.parameters(), None)
        if weight is not None and values.is_floating_point():
            x = to(x, weight.dtype)
        with torch.autocast(values.device.type, self.autocast, enabled=self.autocast is not None):
            return self.net(x, clock, **self._context)


class Preconditioned(NetworkDenoiser):
    """A network as a denoiser: the only place that knows what a network predicts.

    The network sees c_in x, of unit variance, with c_in = (sigma^2 + sigma_data^2 alpha^2)^(-1/2),
    and the clock log(sigma/alpha). Both depend on x/alpha and sigma/alpha alone, so that schedules
    and grids can be swapped after training (every head but "score").

    With n = (alpha^2 + sigma^2)^(1/2) and F the output, the clean state is

    - x0: F.
    - eps (Ho et al. 2020, arXiv:2006.11239): (x - sigma F) / alpha.
    - v (Salimans & Ho 2022, arXiv:2202.00512): (alpha x / n - sigma F) / n.
    - flow, F = eps - x0 (Lipman et al. 2022, arXiv:2210.02747): (x - sigma F) / (alpha + sigma).
    - score, F = grad log p_t (Song et al. 2021, arXiv:2011.13456): (x + sigma^2 F) / alpha.
    - edm (Karras et al. 2022, arXiv:2206.00364, table 1): c_skip x + c_out F with
      c_skip = alpha sd^2 c_in^2, c_out = sigma sd c_in.

    Args:
        net: the network.
        process: where alpha, sigma and the clock come from; needs AFFINE.
        predict: what the network returns.
        sigma_data: standard deviation of the data, per element.
        autocast: dtype for the network's own arithmetic (None: as the state).
    """

    def __init__(
        self,
        net: nn.Module,
        process: Process,
        predict: Prediction = "edm",
        *,
        sigma_data: float = 1.0,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(net, process, autocast=autocast)
        if Can.AFFINE not in process.can:
            raise Unsupported(
                f"Preconditioned needs AFFINE; {process} can {process.can.names()}. Write a "
                "Denoiser that returns its kind of posterior"
            )
        if predict not in get_args(Prediction):
            raise InputError(
                f"a network cannot predict {predict!r}; accepted are "
                f"{', '.join(get_args(Prediction))}"
            )
        if not sigma_data > 0:
            raise InputError(f"sigma_data must be positive, but is {sigma_data}")
        self.predict: Prediction = predict
        self.sigma_data = sigma_data

    def forward(self, x: Any, t: Time) -> Dirac:
        if not isinstance(t, Tensor):
            raise InputError("Preconditioned takes one clock, but was given a mapping of times")
        process: Any = self.process
        keep, gain, scale_in = self._coefficients(process.alpha(t), process.sigma(t))
        out = to(self.output(x * expand(x, scale_in), t), leaf(x).dtype)
        return Dirac(x * expand(x, keep) + out * expand(x, gain))

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c_skip, c_out, c_in) for x0 = c_skip x + c_out F(c_in x), float64."""
        data = self.sigma_data
        scale_in = (sigma.square() + (data * alpha).square()).rsqrt()
        match self.predict:
            case "x0":
                return torch.zeros_like(alpha), torch.ones_like(alpha), scale_in
            case "eps":
                return 1 / alpha, -sigma / alpha, scale_in
            case "v":
                norm = (alpha.square() + sigma.square()).sqrt()
                return alpha / norm.square(), -sigma / norm, scale_in
            case "flow":
                return 1 / (alpha + sigma), -sigma / (alpha + sigma), scale_in
            case "score":
                return 1 / alpha, sigma.square() / alpha, scale_in
            case "edm":
                return alpha * (data * scale_in).square(), sigma * data * scale_in, scale_in
