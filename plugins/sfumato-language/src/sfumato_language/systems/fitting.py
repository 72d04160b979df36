"""Training of a denoiser of tokens on a loss per item, for the trials of systems."""

from __future__ import annotations

__all__ = ["PerItem", "fitted", "scaled", "trained", "training_of"]

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Generator, Tensor, nn

from sfumato import Ancestral, Batch, Model, Trial, state
from sfumato.denoiser import NetworkDenoiser
from sfumato_data import Tensors
from sfumato_methods.discrete import Discrete, TokenDenoiser
from sfumato_methods.grids import uniform
from sfumato_train import Loss, Objective, Settings, Training, averaged
from sfumato_train.times import stratified

D = TypeVar("D", bound=NetworkDenoiser, covariant=True)


class Trains(Protocol[D]):
    """An objective that trains one denoiser."""

    @property
    def denoiser(self) -> D:
        """What is trained."""


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
    objective: Trains[D],
    x: Any,
    given: Trial,
    *,
    name: str,
    steps: int,
    batch: int,
    lr: float,
    condition: Mapping[str, Any] | None = None,
) -> D:
    """The denoiser with its averaged weights, in evaluation mode.

    Args:
        objective: what is trained, in place.
        x: ids of N items.
        given: seed, scale (of the steps) and scratch folder.
        name: of the run in that folder.
        steps: at scale 1.
        batch: items in each step.
        lr: peak learning rate.
        condition: of N items each.
    """
    training = training_of(objective, x, condition)
    return cast("D", fitted(training, given, name=name, steps=steps, batch=batch, lr=lr))


def training_of(
    objective: Trains[D], x: Any, condition: Mapping[str, Any] | None = None
) -> Training:
    """What `fitted` trains; see `trained`."""
    assert isinstance(objective, Objective)
    model = Model(
        objective.denoiser.process,
        objective.denoiser,
        sampler=Ancestral(),
        grid=uniform,
        steps=16,
        blank=lambda n, generator: state.select(x, torch.zeros(n, dtype=torch.long)),
    )
    return Training(objective, Tensors(x, condition or {}), model)


def fitted(
    training: Training, given: Trial, *, name: str, steps: int, batch: int, lr: float
) -> Any:
    """The denoiser of a training run to its end, see `trained`."""
    count = scaled(steps, given)
    settings = Settings(
        seed=given.seed, steps=count, batch=batch, lr=lr, warmup=min(50, count // 2), ema=0.99
    )
    return averaged(training, settings, given.scratch / name).denoiser


def scaled(steps: int, given: Trial) -> int:
    """Steps of a training at the scale of a trial."""
    return max(2, round(steps * given.scale))
