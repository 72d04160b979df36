"""Objectives: who is trained in turn, and on what."""

from __future__ import annotations

__all__ = ["Denoising", "Loss", "Objective", "drop"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import Batch, Codec, Denoiser, InputError, Maybe, Process, random, state
from sfumato_methods.gaussian import Phase

from . import times, weights
from .times import Times, stratified
from .weights import Weight


@dataclass(frozen=True)
class Loss:
    """What a player minimises on a batch.

    Attributes:
        each: (B,) loss of each item; the loop takes the mean.
        parts: named numbers to follow, of any shape; their mean is logged.
        clock: (B,) the clock of each item, log(sigma/alpha), where the loss has one: validation is
            told by noise level.
    """

    each: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    clock: Tensor | None = None


class Objective(nn.Module):
    """What is trained. Subclasses write `players` and `loss`.

    State that outlives a step (target networks, running statistics) belongs in submodules and
    buffers, which are stored in checkpoints; then training resumes exactly.
    """

    def players(self) -> dict[str, nn.Module]:
        """The modules that are trained, each by an optimiser of its own, by name."""
        raise NotImplementedError(f"{type(self).__name__} has no players")

    def turns(self, step: int) -> Sequence[str]:
        """The players that are updated in a step, in order; one may come more than once."""
        return tuple(self.players())

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        """What `player` minimises on a batch; every draw is made from `generator`."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def after(self, player: str, step: int) -> None:
        """Called when `player` has been updated in `step`: target averages, schedules."""

    def validate(self, batch: Batch, generator: Generator) -> Loss | None:
        """How well held-out items fit (lower is better), or None where that has no meaning.

        By default the loss of the first player. It must not change any state.
        """
        return self.loss(next(iter(self.players())), batch, generator)


class Denoising(Objective):
    """The one line for all domains: weight(t) * denoiser(x_t, t).loss(target).

    Args:
        process: noises the data.
        denoiser: what is trained, with whatever is learnable in `process`.
        codec: brings data to the space of the process; it is not trained.
        weight: see `sfumato_train.weights`; None: the loss of what the network predicts
            (`weights.matching`).
        times: law of t, see `sfumato_train.times`.
        dropout: share of items that are trained without their conditions, which makes
            classifier-free guidance possible (Ho & Salimans 2022, arXiv:2207.12598).

    Raises:
        InputError: if `dropout` lies outside [0, 1].
    """

    def __init__(
        self,
        process: Process,
        denoiser: Denoiser,
        codec: Codec | None = None,
        *,
        weight: Weight | None = None,
        times: Times = times.uniform,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise InputError(f"dropout is a share of the items, in [0, 1], but is {dropout}")
        self.process = process
        # coupled states have the noise levels of what they show of the data
        self.levels = process.observed if isinstance(process, Phase) else process
        self.denoiser = denoiser
        self.codec = codec
        self.weight = weights.matching(denoiser) if weight is None else weight
        self.times = times
        self.dropout = dropout

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": nn.ModuleDict({"denoiser": self.denoiser, "process": self.process})}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0 = batch.x
        if self.codec is not None:
            with torch.no_grad():
                x0 = self.codec.encode(x0, generator)
        t = self.times(self.levels, stratified(state.items(x0), generator))
        x, target = self.process.draw(x0, t, generator)
        denoiser = self.denoiser
        if batch.condition:
            denoiser = denoiser.given(**drop(batch.condition, self.dropout, generator))
        error = denoiser(x, t).loss(target)
        clock = self.process.clock(t)
        return Loss(
            error * self.weight(self.levels, t),
            {"unweighted": error.detach()},
            clock if isinstance(clock, Tensor) else None,  # a product has several
        )


def drop(condition: Mapping[str, Any], share: float, generator: Generator) -> dict[str, Any]:
    """Conditions of which each item loses all, with probability `share`, or none."""
    if share == 0:
        return dict(condition)
    first = next(iter(condition.values()))
    count = state.items(first.value if isinstance(first, Maybe) else first)
    kept = random.uniform((count,), generator) >= share

    def thinned(value: Any) -> Maybe:
        if isinstance(value, Maybe):
            return Maybe(value.value, value.present & kept.to(value.present.device))
        return Maybe(value, kept)

    return {name: thinned(value) for name, value in condition.items()}
