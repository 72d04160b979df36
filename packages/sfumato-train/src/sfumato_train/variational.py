"""The variational objective: a bound on the likelihood, for process and denoiser together."""

from __future__ import annotations

__all__ = ["Variational"]

from torch import Generator

from sfumato import Batch, Can, Codec, Denoiser, InputError, Process, Unsupported, random, state
from sfumato_methods.bounds import Bound, Continuous
from sfumato_methods.learned import bend

from .objective import Loss, Noising
from .times import inside, stratified


class Variational(Noising):
    """Minimise a bound on -log p(x_0), in nats per number of an item.

    Gradients reach the denoiser and whatever is learnable in the process, through the clean data
    and through what the denoiser says of it (Bartosh et al. 2023, arXiv:2310.08337, eq. 15).

    Args:
        process: noises the data; its parameters are trained too.
        denoiser: what is trained with it.
        codec: brings data to the space of the process; it is not trained.
        bound: `Continuous` or `Stepwise` of `sfumato_methods.bounds`.
        dropout: share of items that are trained without their conditions, see `Denoising`.
        straight: weight of the curvature of trajectories (NFDM-OT, `bend`); needs VELOCITY.

    Raises:
        InputError: if `dropout` lies outside [0, 1] or `straight` is negative.
        Unsupported: if trajectories are to be straightened that the process does not have.
    """

    def __init__(
        self,
        process: Process,
        denoiser: Denoiser,
        codec: Codec | None = None,
        *,
        bound: Bound | None = None,
        dropout: float = 0.1,
        straight: float = 0.0,
    ) -> None:
        super().__init__(process, denoiser, codec, dropout)
        if straight < 0:
            raise InputError(f"straight is a weight, 0 or more, but is {straight}")
        if straight and Can.VELOCITY not in process.can:
            raise Unsupported(
                f"trajectories need VELOCITY; {process} can {process.can.names()}. Use straight=0"
            )
        self.bound = Continuous() if bound is None else bound
        self.straight = straight

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0 = self.clean(batch, generator)
        process, condition = self.placed(batch, generator)
        denoiser = self.told(condition, generator)
        u = stratified(state.items(x0), generator)
        terms = self.bound(process, denoiser, x0, u, generator)
        numbers = state.item_count(x0).clamp_min(1)
        each = terms.total / numbers
        parts = {name: (term / numbers).detach() for name, term in terms._asdict().items()}
        if self.straight:
            t = inside(process, random.uniform((state.items(x0),), generator))
            x = process.marginal(x0, t).sample(generator)
            parts["bend"] = bend(process, denoiser, x, t)
            each = each + self.straight * parts["bend"]
            parts["bend"] = parts["bend"].detach()
        return Loss(each, parts)
