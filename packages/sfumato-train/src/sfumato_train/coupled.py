"""Training on sources that are coupled with the items of each batch."""

from __future__ import annotations

__all__ = ["Coupled"]

from dataclasses import replace
from typing import Any

from torch import Generator

from sfumato import (
    Batch,
    Can,
    Codec,
    Denoiser,
    InputError,
    Maybe,
    Noised,
    Process,
    Unsupported,
    random,
)
from sfumato.state import expand, select
from sfumato_methods.bridges import Coupling, assignment

from .objective import Denoising, Loss
from .times import Times, uniform
from .weights import Weight


class Coupled(Denoising):
    """`Denoising` in which items and sources, or items and noise, are matched in each batch.

    A process with a source is for unpaired sources: those of the batch are put in the order that
    the coupling says. An AFFINE, Gaussian process has the noise of the batch drawn and matched;
    sampling starts from noise as ever (Pooladian et al. 2023, arXiv:2304.14772; Tong et al. 2023,
    arXiv:2302.00482). Matched are the items of one batch of one process: the larger it is, the
    nearer to optimal transport.

    Args:
        process: noises the data.
        denoiser: what is trained.
        codec: as for `Denoising`; matched is what goes in.
        coupling: `sfumato_methods.bridges.assignment`, a `Sinkhorn`, or one's own.
        weight: as for `Denoising`.
        times: as for `Denoising`.
        dropout: as for `Denoising`.

    Raises:
        Unsupported: if the process has neither a source nor a noise of its own to match.
    """

    def __init__(
        self,
        process: Process,
        denoiser: Denoiser,
        codec: Codec | None = None,
        *,
        coupling: Coupling = assignment,
        weight: Weight | None = None,
        times: Times = uniform,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(process, denoiser, codec, weight=weight, times=times, dropout=dropout)
        if "source" not in process.context and (Can.AFFINE | Can.GAUSSIAN) & ~process.can:
            raise Unsupported(
                f"Coupled needs a process with a source, or AFFINE, GAUSSIAN; {process} can "
                f"{process.can.names()}. Use Denoising"
            )
        self.coupling = coupling

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        if "source" in self.process.context:
            source = batch.condition.get("source")
            if source is None or isinstance(source, Maybe):
                raise InputError(f"{self.process} needs the condition 'source' of every item")
            order = self.coupling(batch.x, source, generator)
            condition = {**batch.condition, "source": select(source, order)}
            batch = replace(batch, condition=condition)
        return super().loss(player, batch, generator)

    def noised(self, process: Process, x0: Any, t: Any, generator: Generator) -> Noised:
        if process.context:
            return super().noised(process, x0, t, generator)
        affine: Any = process
        space = getattr(process, "space", None)
        noise = (random if space is None else space).normal(x0, generator)
        noise = select(noise, self.coupling(x0, noise, generator))
        x = x0 * expand(x0, affine.alpha(t)) + noise * expand(x0, affine.sigma(t))
        return Noised(x, x0)
