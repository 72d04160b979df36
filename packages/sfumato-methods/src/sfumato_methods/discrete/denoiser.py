"""Networks over tokens as denoisers."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from sfumato import Categorical, Denoiser
from sfumato.state import Time, apply, items, leaf
from torch import Tensor, nn
from torch.nn import functional as F

from .kernels import RankOne
from .process import Discrete

__all__ = ["TokenDenoiser"]


class TokenDenoiser(Denoiser):
    """A network that returns logits (..., K) over clean classes, as a denoiser.

    The network is called as `net(ids, clock, **context)` with a clock of shape (B,) or (B, F). For
    an absorbing kernel its output takes the SUBS form (Sahoo et al. 2024, arXiv:2406.07524, section
    3.2.3): the mask has probability 0, and what is not masked is carried over exactly.

    Args:
        net: the network.
        process: where the clock and the kernel come from.
    """

    def __init__(self, net: nn.Module, process: Discrete) -> None:
        super().__init__()
        self.net = net
        self.process = process
        self._context: dict[str, Any] = {}

    def given(self, **condition: Any) -> Self:
        view = copy.copy(self)
        encode = getattr(self.net, "encode", None)
        view._context = encode(**condition) if condition and encode is not None else condition
        return view

    def forward(self, x: Any, t: Time) -> Categorical:
        clock = self.process.clock(t).to(leaf(x).device, torch.float32)
        if clock.ndim == 0:
            clock = clock.expand(items(x))
        logits = self.net(x, clock, **self._context)
        kernel = self.process.kernel
        mask = kernel.absorbs if isinstance(kernel, RankOne) else None
        return Categorical(logits=logits if mask is None else apply(logits, _subs(mask), x))


def _subs(mask: int) -> Any:
    def substitute(logits: Tensor, ids: Tensor) -> Tensor:
        hidden = F.one_hot(torch.full_like(ids, mask), logits.shape[-1]).bool()
        kept = torch.where(F.one_hot(ids, logits.shape[-1]).bool(), 0.0, -torch.inf)
        guess = logits.masked_fill(hidden, -torch.inf)
        return torch.where((ids == mask)[..., None], guess, kept.to(logits.dtype))

    return substitute
