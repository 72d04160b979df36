"""Neural flow diffusion: mean and width of the noised data are networks, pinned at both ends."""

from __future__ import annotations

__all__ = ["NFDM", "bend", "nfdm"]

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sfumato import Fields, Normal, Process, expand
from sfumato.sampling import Denoise
from sfumato.state import Time, apply, item_sum, where

from ..gaussian import Linear, Schedule
from .conditional import Conditional
from .nets import Pointwise, ask

_PLACES, _SHARES = (
    torch.from_numpy(v * 0.5) for v in np.polynomial.legendre.leggauss(4)
)  # on [-1/2, 1/2]; the weights sum to one


class NFDM(Conditional):
    """x_t = mu + tau eps, mu = alpha x_0 + t (1-t) m(x_0, t), tau = sigma exp(t (1-t) w(x_0, t)).

    Bartosh, Vetrov & Naesseth 2024, arXiv:2404.12940, the Gaussian form: whatever the networks m
    and w say, x_0 is the data and x_1 is the prior. They floor tau at 0.01 = delta by delta^(1-t);
    here tau(0) = 0, and a bound that starts at t = delta under `Linear`, with times log-uniform
    (`bounds.Continuous`), is theirs. The drift of a model has the same g as that of the process,
    which does not depend on the data; rho is integrated over log-SNR by Gauss-Legendre with four
    nodes, its one approximation, which leaves all marginals exact.

    Args:
        schedule: alpha and sigma; g is theirs.
        net: m, called as `net(x, clock)`, returns a state like x.
        width: w, likewise; None: tau = sigma.
    """

    def __init__(self, schedule: Schedule, net: nn.Module, width: nn.Module | None = None) -> None:
        super().__init__(schedule)
        self.net = net
        self.width = width

    def extra_repr(self) -> str:
        nets = [type(net).__name__ for net in (self.net, self.width) if net is not None]
        return f"{self.base.schedule!r}, {', '.join(nets)}"

    def moments(self, x0: Any, t: Tensor) -> Fields:
        bent = ask(self.net, self, x0, t) * expand(x0, t * (1 - t))
        mean = x0 * expand(x0, self.base.alpha(t)) + bent
        return (
            Fields(mean=mean) if self.width is None else Fields(mean=mean, width=self._wide(x0, t))
        )

    def _wide(self, x0: Any, t: Tensor) -> Any:
        """log(tau/sigma), a state like x_0."""
        assert self.width is not None
        return ask(self.width, self, x0, t) * expand(x0, t * (1 - t))

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Normal:
        if self.width is None:
            return super().bridge(x0, x, t, s, row)
        assert isinstance(t, Tensor) and isinstance(s, Tensor)
        t, s = t.double(), s.double()
        rest = s == t
        sigma_t, sigma_s = self.base.sigma(t), self.base.sigma(s)
        ratio = torch.where(rest, 1.0, sigma_s / torch.where(sigma_t > 0, sigma_t, 1.0))
        before, after = self.moments(x0, t), self.moments(x0, s)
        decay, spread = self._decay(x0, t, s)
        wider = apply(after["width"] - before["width"], torch.exp)
        keep = wider * decay * expand(x, ratio)
        std = apply(after["width"], torch.exp) * spread * expand(x, sigma_s)
        return Normal(x * keep + (after["mean"] - before["mean"] * keep), std)

    def _decay(self, x0: Any, t: Tensor, s: Tensor) -> tuple[Any, Any]:
        """(rho, (1 - rho^2)^(1/2)), states like x_0; (1, 0) where time stands still."""
        here, there = self.base.logsnr(t), self.base.logsnr(s)
        rest = s == t
        plain = ~rest & here.isfinite() & there.isfinite()  # between the ends nothing is kept
        high, low = torch.where(plain, there, 1.0), torch.where(plain, here, -1.0)
        total: Any = 0.0
        for place, share in zip(_PLACES.tolist(), _SHARES.tolist(), strict=True):
            u = self.base.time((high + low) / 2 + place * (high - low))
            total = apply(self._wide(x0, u), lambda v: (-2 * v).exp()) * share + total
        log_rho = total * expand(x0, 0.5 * (low - high))
        moves = expand(x0, plain)
        zero, one = apply(x0, torch.zeros_like), apply(x0, torch.ones_like)
        rho = where(moves, apply(log_rho, torch.exp), where(expand(x0, rest), one, zero))
        spread = apply(log_rho, lambda v: (-torch.expm1(2 * v)).sqrt())
        return rho, where(moves, spread, where(expand(x0, rest), zero, one))


def bend(process: Process, denoiser: Denoise, x: Any, t: Tensor) -> Tensor:
    """(B,) |d/dt v(x_t, t)|^2 along the model's own flow v, the mean over its numbers.

    The total derivative, by forward-mode differentiation with tangent (v, 1): zero where
    trajectories are straight and evenly run through (NFDM-OT; Bartosh et al. 2024, section 5).

    Args:
        process: needs VELOCITY.
        denoiser: what it is asked with.
        x: states at t, tensors.
        t: (B,).
    """

    def flow(state: Tensor, time: Tensor) -> Tensor:
        moved: Tensor = process.velocity(denoiser(state, time), state, time)
        return moved

    wanted = torch.is_grad_enabled()
    with torch.enable_grad():  # without, torch lacks second derivatives of some activations
        here = flow(x, t).detach()
        turn = torch.func.jvp(flow, (x, t), (here, torch.ones_like(t)))[1]
        bent: Tensor = item_sum(turn * turn) / max(1, x[0].numel())
    return bent if wanted else bent.detach()


def nfdm(width: int = 16) -> NFDM:
    """`NFDM(Linear(), Pointwise(width), Pointwise(width))`, for data of any shape."""
    return NFDM(Linear(), Pointwise(width), Pointwise(width))
