"""Neural diffusion models: data is bent by a network before it is scaled and noised."""

from __future__ import annotations

__all__ = ["NDM", "ndm"]

from typing import Any

from torch import Tensor, nn

from sfumato import Fields, expand

from ..gaussian import VP, Schedule
from .conditional import Conditional
from .nets import Pointwise, ask


class NDM(Conditional):
    """x_t = alpha(t) F(x_0, t) + sigma(t) eps, F(x, t) = x + t net(x, clock(t)).

    Bartosh, Vetrov & Naesseth 2023, arXiv:2310.08337. With keep = sigma(s) r^(1/2) / sigma(t),
    r = SNR(t)/SNR(s) (the Markov choice), the bridge is

        N(alpha_s F(x_0, s) + keep (x_t - alpha_t F(x_0, t)), sigma_s^2 (1 - r))

    and the transition is the bridge at the guessed x_0. A network that is zero gives `Gaussian`.

    Args:
        schedule: alpha and sigma.
        net: called as `net(x, clock)`, returns a state like x; its parameters are learned.
    """

    def __init__(self, schedule: Schedule, net: nn.Module) -> None:
        super().__init__(schedule)
        self.net = net

    def extra_repr(self) -> str:
        return f"{self.base.schedule!r}, {type(self.net).__name__}"

    def transform(self, x0: Any, t: Tensor) -> Any:
        """F(x_0, t), a state like x_0."""
        return x0 + ask(self.net, self, x0, t) * expand(x0, t)

    def moments(self, x0: Any, t: Tensor) -> Fields:
        return Fields(mean=self.transform(x0, t) * expand(x0, self.base.alpha(t)))


def ndm(width: int = 16) -> NDM:
    """`NDM(VP(), Pointwise(width))`: a learned warp of single numbers, for data of any shape."""
    return NDM(VP(), Pointwise(width))
