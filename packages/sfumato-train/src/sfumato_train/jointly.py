"""Denoising of states of several fields, whose losses have weights of their own."""

from __future__ import annotations

__all__ = ["Jointly"]

from collections.abc import Mapping
from typing import Any

from torch import Generator

from sfumato import Batch, Codec, Denoiser, Process, state

from . import times
from .objective import Loss, Noising


class Jointly(Noising):
    """The sum over fields of weight * q[field].loss(target[field]), at uniform times.

    So the loss of DiGress (Vignac et al. 2022, arXiv:2209.14734, eq. 2): the cross entropy of nodes
    plus five times that of pairs.

    Args:
        process: noises the data; a product.
        denoiser: what is trained; its posteriors are joint ones.
        weight: of each field.
        codec: brings data to the space of the process; it is not trained.
        dropout: share of items that are trained without their conditions, see `Denoising`.

    Raises:
        InputError: if `dropout` lies outside [0, 1].
    """

    def __init__(
        self,
        process: Process,
        denoiser: Denoiser,
        weight: Mapping[str, float],
        codec: Codec | None = None,
        *,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(process, denoiser, codec, dropout)
        self.weight = dict(weight)

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0 = self.clean(batch, generator)
        process, condition = self.placed(batch, generator)
        t = times.uniform(process, times.stratified(state.items(x0), generator))
        x, target = process.draw(x0, t, generator)
        q: Any = self.told(condition, generator)(x, t)
        parts = {name: q[name].loss(target[name]) for name in self.weight}
        each = sum(self.weight[name] * part for name, part in parts.items())
        return Loss(each, {name: part.detach() for name, part in parts.items()})
