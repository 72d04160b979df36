"""Training of a denoiser of tokens on a loss per item, for the trials of systems."""

from __future__ import annotations

__all__ = ["PerItem", "fitted", "scaled", "trained"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import Ancestral, Batch, Model, Trial
from sfumato_data import Tensors
from sfumato_methods.discrete import Discrete, TokenDenoiser
from sfumato_methods.grids import uniform
from sfumato_train import Denoising, Loss, Objective, Settings, Training, fit
from sfumato_train.ema import parts
from sfumato_train.times import stratified

Law = Callable[[Discrete, TokenDenoiser, Any, Tensor, Generator], Tensor]
"""A loss of `sfumato_methods.discrete`: (process, denoiser, x0, t, generator) to (B,) nats."""


class PerItem(Objective):
    """A loss per item at uniform, stratified times.

    Args:
        denoiser: what is trained.
        law: the loss.
    """

    def __init__(self, denoiser: TokenDenoiser, law: Law) -> None:
        super().__init__()
        self.denoiser, self.law = denoiser, law

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": self.denoiser}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        t = stratified(len(batch.x), generator).double()
        return Loss(self.law(self.denoiser.process, self.denoiser, batch.x, t, generator))


def trained(
    objective: PerItem,
    x: Tensor,
    given: Trial,
    *,
    name: str,
    steps: int,
    batch: int,
    lr: float,
) -> TokenDenoiser:
    """The denoiser with its averaged weights, in evaluation mode.

    Args:
        objective: what is trained, in place.
        x: (N, L) ids.
        given: seed, scale (of the steps) and scratch folder.
        name: of the run in that folder.
        steps: at scale 1.
        batch: items in each step.
        lr: peak learning rate.
    """
    found: TokenDenoiser = fitted(
        objective, Tensors(x), given, name=name, steps=steps, batch=batch, lr=lr
    )
    return found


def fitted(
    objective: PerItem | Denoising,
    data: Tensors,
    given: Trial,
    *,
    name: str,
    steps: int,
    batch: int,
    lr: float,
) -> Any:
    """As `trained`, for any denoiser and for data with conditions."""
    count = scaled(steps, given)
    denoiser: Any = objective.denoiser
    settings = Settings(
        seed=given.seed, steps=count, batch=batch, lr=lr, warmup=min(50, count // 2), ema=0.99
    )
    model = Model(
        denoiser.process,
        denoiser,
        sampler=Ancestral(),
        grid=uniform,
        steps=16,
        blank=lambda n, generator: torch.zeros_like(data.x[:1]).expand(n, -1),
    )
    last: list[Any] = []
    fit(
        Training(objective, data, model),
        settings,
        given.scratch / name,
        on_save=lambda step, averaged: last.append(averaged),
    )
    parts(last[-1]).eval()
    return last[-1].denoiser


def scaled(steps: int, given: Trial) -> int:
    """Steps of a training at the scale of a trial."""
    return max(2, round(steps * given.scale))
