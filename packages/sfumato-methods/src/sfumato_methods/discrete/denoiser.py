"""Networks over tokens as denoisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sfumato import Categorical
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time, apply

from .kernels import RankOne
from .process import Discrete

__all__ = ["TokenDenoiser"]


class TokenDenoiser(NetworkDenoiser):
    """A network that maps ids to logits (..., K) over clean classes, as a denoiser.

    For an absorbing kernel its output takes the SUBS form (Sahoo et al. 2024, arXiv:2406.07524,
    section 3.2.3): the mask has probability 0, and what is not masked is carried over exactly.
    """

    process: Discrete

    def forward(self, x: Any, t: Time) -> Categorical:
        logits, kernel = self.output(x, t), self.process.kernel
        mask = kernel.absorbs if isinstance(kernel, RankOne) else None
        return Categorical(logits=logits if mask is None else apply(logits, _subs(mask), x))


def _subs(mask: int) -> Callable[[Tensor, Tensor], Tensor]:
    def substitute(logits: Tensor, ids: Tensor) -> Tensor:
        classes = torch.arange(logits.shape[-1], device=ids.device)
        kept = torch.where(classes == ids[..., None], 0.0, -torch.inf).to(logits.dtype)
        guess = logits.masked_fill(classes == mask, -torch.inf)
        return torch.where((ids == mask)[..., None], guess, kept)

    return substitute
