"""Prompts that weigh more: guidance of a masked model by itself, with the prompt hidden."""

from __future__ import annotations

__all__ = ["Guided"]

from typing import Any

import torch
from torch import Tensor

from sfumato import Denoiser, Unsupported
from sfumato.state import Time, apply
from sfumato_methods.discrete import Tokens


class Guided(Denoiser):
    """The posterior proportional to p(x_0 | x)^scale p(x_0 | x without the prompt)^(1 - scale).

    Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) that needs no training: a model
    that masks knows already what is likely without a prompt (Nie et al. 2024, arXiv:2410.18514).
    Two calls a step; at scale 1 it is the model.

    Args:
        denoiser: returns `Tokens` of a chain that only masks.
        shown: (B, L) bool: the prompt.
        mask: id of the mask.
        scale: any number; above 1 the prompt weighs more.
    """

    def __init__(self, denoiser: Denoiser, shown: Tensor, mask: int, scale: float) -> None:
        super().__init__()
        self.denoiser, self.shown, self.mask, self.scale = denoiser, shown, mask, scale

    def forward(self, x: Any, t: Time) -> Tokens:
        q = self.denoiser(x, t)
        plain = self.denoiser(apply(x, lambda ids: ids.masked_fill(self.shown, self.mask)), t)
        if not isinstance(q, Tokens) or not isinstance(plain, Tokens) or q.mask is None:
            raise Unsupported("a prompt is hidden from a chain that only masks")

        def combined(c: Tensor, u: Tensor) -> Tensor:
            # rows of logits are known up to a constant, which stays one; excluded stays excluded
            return torch.where(c == -torch.inf, c, u + (c - u) * self.scale)

        return Tokens(apply(q.raw, combined, plain.raw), q.mask, q.seen, q.edits)
