"""Texts that grow: the objective of models that insert tokens, and what they begin with."""

from __future__ import annotations

__all__ = ["KEPT", "Grown", "Nothing"]

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, nn

from sfumato import Batch, InputError, Padded
from sfumato_methods.discrete.insertion import Insertion, InsertionDenoiser
from sfumato_train import Loss, Objective
from sfumato_train.times import stratified

KEPT = "kept"
"""Condition (B, M) bool: tokens that a text grows around, which are never masked nor deleted."""

_EARLIEST = 0.01
"""Times in training are at least this, so that weights 1/t are at most 100."""


class Grown(Objective):
    """The bound on the nats of a text, over the largest length M, at uniform, stratified times.

    FlexMDM (Kim et al. 2025, arXiv:2509.01025, theorem 1), see `Growth.loss`: cross-entropy of the
    masked tokens and a Bregman divergence of the missing ones in each gap, times 1/t.

    Args:
        denoiser: what is trained; its process inserts.
    """

    def __init__(self, denoiser: InsertionDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": self.denoiser}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0: Padded = batch.x
        t = stratified(len(x0.data), generator).double().clamp_min(_EARLIEST).to(x0.data.device)
        process: Insertion = self.denoiser.process
        if KEPT in batch.condition:
            process = process.given(kept=batch.condition[KEPT])
        x, target = process.draw(x0, t, generator)
        each = self.denoiser(x, t).loss(target)
        return Loss(each / t.to(each), clock=process.clock(t))


@dataclass(frozen=True)
class Nothing:
    """The `Model.blank` of texts that grow: room for `length` tokens, and none there yet."""

    length: int

    def __call__(self, n: int, generator: Generator, **asked: Any) -> Padded:
        """N empty texts.

        Raises:
            InputError: if a prompt, a gap or a length is asked for.
        """
        if asked:
            raise InputError(
                "a model that inserts tokens writes whole texts, as long as it likes; it takes no "
                "prompt, suffix, text, length or pattern. Train language/text for these"
            )
        empty = torch.zeros(n, self.length, dtype=torch.long)
        return Padded(empty, torch.ones_like(empty, dtype=torch.bool))
