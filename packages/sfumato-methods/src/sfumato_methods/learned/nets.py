"""Networks that bend the data: how they are asked, how fast they move, and the smallest of them."""

from __future__ import annotations

__all__ = ["Pointwise", "ask", "motion"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import Process, expand
from sfumato.state import apply, items, leaf, to


class Pointwise(nn.Module):
    """A function of one number and the clock, the same for every number: a small learned warp.

    y = sum_k c_k h(a_k x + b_k clock + d_k), h(z) = z / (1 + z^2)^(1/2). It fits floating states
    of every shape, and is zero when new (c = 0). Its arithmetic rounds alike whatever the batch.

    Args:
        width: number of terms.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        place = torch.linspace(-2, 2, width)
        self.slope = nn.Parameter(torch.ones(width))
        self.clock = nn.Parameter(0.1 * place)
        self.shift = nn.Parameter(place.flip(0).clone())
        self.gain = nn.Parameter(torch.zeros(width))

    def forward(self, x: Any, clock: Tensor) -> Any:
        """Map a state to one of the same layout; clock (), (B,) or (B, F)."""

        def bent(v: Tensor, u: Tensor) -> Tensor:
            z = self.slope * v[..., None] + self.clock * u[..., None] + self.shift
            return (self.gain * (z * (1 + z * z).rsqrt())).sum(-1)

        return apply(x, bent, expand(x, clock))


def ask(net: nn.Module, process: Process, x: Any, t: Tensor) -> Any:
    """What `net(x, clock)` says of clean data at time t, in the dtype of the state.

    Like a denoiser's network it works in the dtype of its weights; the clock, whose derivative is
    wanted, is at least float32.
    """
    dtype = leaf(x).dtype
    weight = next(net.parameters(), None)
    own = dtype if weight is None else weight.dtype
    clock = process.clock(t).to(leaf(x).device, torch.promote_types(own, torch.float32))
    if clock.ndim == 0:
        clock = clock.expand(items(x))
    return to(net(to(x, own), clock), dtype)


def motion(f: Callable[[Tensor], Any], t: Tensor) -> tuple[Any, Any]:
    """A state that depends on the time, and its derivative, by forward-mode differentiation."""
    shape: Any = None

    def flat(u: Tensor) -> tuple[Tensor, ...]:
        nonlocal shape
        values: list[Tensor] = []
        shape = f(u)

        def keep(v: Tensor) -> Tensor:
            values.append(v)
            return v

        apply(shape, keep)
        return tuple(values)

    found = torch.func.jvp(flat, (t,), (torch.ones_like(t),))
    value, rate = (iter(part) for part in found)
    return apply(shape, lambda v: next(value)), apply(shape, lambda v: next(rate))
