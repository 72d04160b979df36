"""E-TSDM: a network that is told one time for a whole interval, close to the data.

Yang et al. 2023, arXiv:2306.11251. With noise prediction the answer of a network changes without
bound as t goes to 0 wherever sigma'(t) does: of exact data |d eps/dt| grows as t^(-1/2) for linear
betas. A network that is told the left end of its interval instead has nothing to learn there. Only
what is told is shared; schedule, targets and the times of the solver stay, so that any sampler
works, and the network is trained and used as it is wrapped here.
"""

from __future__ import annotations

__all__ = ["SharedClock", "sensitivity"]

from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import InputError, Process
from sfumato.sampling import Denoise
from sfumato.state import axpy, item_sum, scale

from .fixed import affine


class SharedClock(nn.Module):
    """A network whose clock stands at the left ends of equal intervals of t below `until`.

    It goes between the network and its denoiser: `Preconditioned(SharedClock(net, process), ...)`.

    Args:
        net: called as net(x, clock, **context).
        process: whose clock the network is told.
        until: t below which times are shared; the paper takes 100 of 1,000 steps.
        parts: number of intervals.

    Raises:
        InputError: unless 0 < until <= 1 and there is a part.
    """

    edges: Tensor

    def __init__(
        self, net: nn.Module, process: Process, until: float = 0.1, parts: int = 5
    ) -> None:
        super().__init__()
        if not (0 < until <= 1 and parts >= 1):
            raise InputError(
                f"SharedClock takes until in (0, 1] and parts >= 1, not {until} and {parts}"
            )
        self.net = net
        self.parts, self.until = parts, until
        times = torch.linspace(0, until, parts + 1, dtype=torch.float64)
        # in float32, as networks are told their clocks
        self.register_buffer("edges", process.clock(times).float(), persistent=False)

    def encode(self, **condition: Any) -> Any:
        """The context of the network; the condition itself where it encodes none."""
        encode = getattr(self.net, "encode", None)
        return condition if encode is None else encode(**condition)

    def forward(self, x: Any, clock: Tensor, **context: Any) -> Any:
        """What the network says of `x` at the shared clock."""
        clock = clock.contiguous()
        left = torch.searchsorted(self.edges, clock, right=True) - 1
        shared = torch.where(left < self.parts, self.edges[left.clamp(0, self.parts)], clock)
        return self.net(x, shared, **context)


@torch.no_grad()
def sensitivity(
    process: Process, denoiser: Denoise, x0: Any, t: Tensor, other: Tensor, generator: Generator
) -> float:
    """K(t, t') = E |eps(x_t, t) - eps(x_t, t')| / |t - t'|, the noise seen at two times told.

    The quotient of Yang et al. 2023, section 3, whose bound as t' goes to t is a Lipschitz constant
    in time. The same state is shown twice, in the scale that belongs to each time if
    alpha^2 + sigma^2 = 1.

    Args:
        process: needs AFFINE, with Gaussian noise.
        denoiser: the denoiser whose posterior mean gives the noise.
        x0: clean states, noised to t.
        t: () time of the state.
        other: () another time, not t.
        generator: of the noise.
    """
    own: Any = affine(process, "of times told")
    x = own.marginal(x0, t).sample(generator)

    def noise(told: Tensor) -> Any:
        gain = -own.alpha(told) / own.sigma(told)
        return axpy(gain, denoiser(x, told).mean, scale(1 / own.sigma(told), x))

    gap = noise(t) - noise(other)
    return float(item_sum(gap * gap).sqrt().mean() / (t - other).abs())
