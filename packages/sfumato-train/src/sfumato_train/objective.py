"""Objectives: who is trained in turn, and on what."""

from __future__ import annotations

__all__ = ["Denoising", "Loss", "Noising", "Objective", "drop"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import Batch, Codec, Denoiser, InputError, Maybe, Noised, Process, random, state
from sfumato_methods.gaussian import shown

from . import times, weights
from .pinning import lasting, pinned, spaced
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


class Noising(Objective):
    """Base of objectives that noise data by a process and train it and a denoiser as one player.

    Args:
        process: noises the data; whatever is learnable in it is trained.
        denoiser: what is trained.
        codec: brings data to the space of the process; it is not trained.
        dropout: share of items that are trained without their conditions.

    Raises:
        InputError: if `dropout` lies outside [0, 1].
    """

    def __init__(
        self, process: Process, denoiser: Denoiser, codec: Codec | None, dropout: float
    ) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise InputError(f"dropout is a share of the items, in [0, 1], but is {dropout}")
        self.process = process
        self.denoiser = denoiser
        self.codec = codec
        self.dropout = dropout

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": nn.ModuleDict({"denoiser": self.denoiser, "process": self.process})}

    def clean(self, batch: Batch, generator: Generator) -> Any:
        """The data of a batch in the space of the process."""
        if self.codec is None:
            return batch.x
        with torch.no_grad():
            return self.codec.encode(batch.x, generator)

    def placed(self, batch: Batch, generator: Generator) -> tuple[Process, dict[str, Any]]:
        """The process as it is for the items of a batch, and their conditions in its space."""
        condition = spaced(self.process, batch.condition, self.codec, generator)
        return pinned(self.process, condition), condition

    def told(self, condition: Mapping[str, Any], generator: Generator) -> Denoiser:
        """The denoiser, told the conditions that last and those that are not dropped."""
        if not condition:
            return self.denoiser
        kept = {name: condition[name] for name in lasting(self.process, condition)}
        rest = {name: value for name, value in condition.items() if name not in kept}
        return self.denoiser.given(**kept, **drop(rest, self.dropout, generator))


class Denoising(Noising):
    """The one line for all domains: weight(t) * denoiser(x_t, t).loss(target).

    Args:
        process: noises the data.
        denoiser: what is trained, with whatever is learnable in `process`.
        codec: brings data to the space of the process; it is not trained.
        weight: see `sfumato_train.weights`; None: the loss of what the network predicts
            (`weights.matching`).
        times: law of t, see `sfumato_train.times`.
        dropout: share of items that are trained without their conditions, which makes
            classifier-free guidance possible (Ho & Salimans 2022, arXiv:2207.12598). The source of
            a pair, and what the process depends on, are never left out (`pinning.lasting`).

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
        super().__init__(process, denoiser, codec, dropout)
        self.weight = weights.matching(denoiser) if weight is None else weight
        self.times = times

    def noised(self, process: Process, x0: Any, t: Any, generator: Generator) -> Noised:
        """The noisy states that the denoiser is trained on, and what it has to learn from them."""
        return process.draw(x0, t, generator)

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0 = self.clean(batch, generator)
        process, condition = self.placed(batch, generator)
        levels = shown(process)
        t = self.times(levels, stratified(state.items(x0), generator))
        x, target = self.noised(process, x0, t, generator)
        error = self.told(condition, generator)(x, t).loss(target)
        clock = process.clock(t)
        return Loss(
            error * self.weight(levels, t),
            {"unweighted": error.detach()},
            clock if isinstance(clock, Tensor) else None,  # a product has several
        )


def drop(condition: Mapping[str, Any], share: float, generator: Generator) -> dict[str, Any]:
    """Conditions of which each item loses all, with probability `share`, or none."""
    if share == 0 or not condition:
        return dict(condition)
    first = next(iter(condition.values()))
    count = state.items(first.value if isinstance(first, Maybe) else first)
    kept = random.uniform((count,), generator) >= share

    def thinned(value: Any) -> Maybe:
        if isinstance(value, Maybe):
            return Maybe(value.value, value.present & kept.to(value.present.device))
        return Maybe(value, kept)

    return {name: thinned(value) for name, value in condition.items()}
