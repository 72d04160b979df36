"""Discrete latents that each pick one atom of a complex.

DisCo-Diff (Xu et al. 2024, arXiv:2407.03300): an encoder is shown the true pose and trained with
the denoiser, through the straight-through Gumbel softmax (Jang et al. 2017, arXiv:1611.01144); an
autoregressive model learns to pick without the pose. Indicators stand with the atoms, so that what
they tell turns with the complex.
"""

from __future__ import annotations

__all__ = ["Latents", "entropy", "picked", "softened"]

import math

import torch
from torch import Tensor, nn

from sfumato import Fields, Ragged, random
from sfumato.random import Source

from .nn import Chooser, largest, log_softmax
from .pose import posed

COOL = -1.5
"""Log of the temperature at which the autoregressive model is drawn from, as published."""

WARM, COLD = 1.0, 0.3
"""Temperatures of the Gumbel softmax at the start and at the end of a training."""


class Latents(nn.Module):
    """Encoder and autoregressive model of the latents of a complex.

    Args:
        count: latents.
        elements: see `Chooser`.
        width: channels of either network.
        depth: layers of either network.
        radius: see `Chooser`.
        dropout: share of items that are trained without latents.
    """

    def __init__(
        self, count: int, elements: int, *, width: int, depth: int, radius: float | None,
        dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.count, self.dropout = count, dropout
        sizes = {"width": width, "depth": depth, "radius": radius}
        self.encoder = Chooser(elements, count, 0, **sizes)  # type: ignore[arg-type]
        self.guesser = Chooser(elements, count, count, **sizes)  # type: ignore[arg-type]
        self.register_buffer("temperature", torch.tensor(WARM))
        self.temperature: Tensor

    def cool(self, done: float) -> None:
        """Set the temperature to that of a training of which a share is done, in place."""
        self.temperature.fill_(WARM * (COLD / WARM) ** min(max(done, 0.0), 1.0))

    def told(self, x0: Fields) -> Ragged:
        """(N, count) logits of the encoder, which sees the true pose."""
        logits: Ragged = self.encoder(x0["complex"], posed(x0))
        return logits

    def choose(self, x0: Fields, generator: Source) -> Ragged:
        """(N, count) indicators, drawn from the encoder with its gradient; some items have none."""
        logits = self.told(x0)
        soft, hard = softened(logits, self.temperature, generator)
        kept = random.draw(
            torch.empty(logits.items, 1, dtype=torch.float64),
            lambda n, g: random.uniform(n, g),
            generator,
        )
        value = hard + (soft - soft.detach())
        part = (kept >= self.dropout).to(value)[logits.owner]
        return Ragged(value * part, logits.owner, logits.items)

    def guess(self, told: Fields, generator: Source) -> Ragged:
        """(N, count) indicators, drawn one after the other without the pose."""
        places = _folded(told)
        given = _blank(told, self.count)
        owner = torch.cat((places.owner, told["kinds"].owner)).sort().values
        for latent in range(self.count):
            logits = self.guesser(told, places, given)
            sharp = logits.data[:, latent : latent + 1] / math.exp(COOL)
            _, hard = softened(Ragged(sharp, logits.owner, logits.items), 1.0, generator)
            given = torch.cat((given[:, :latent], hard, given[:, latent + 1 :]), 1)
        return Ragged(given, owner, places.items)

    def loss(self, told: Fields, chosen: Ragged) -> Tensor:
        """(B,) nats of the autoregressive model for indicators; 0 where there are none."""
        places, hard = _folded(told), chosen.data.detach()
        nats = hard.new_zeros(chosen.items)
        for latent in range(self.count):
            given = hard.clone()
            given[:, latent:] = 0
            logits = self.guesser(told, places, given)
            log_p = log_softmax(logits)[:, latent]
            nats = nats.index_add(0, chosen.owner, -log_p * hard[:, latent])
        return nats


def picked(scores: Ragged) -> Tensor:
    """(N, L) indicators of the largest number of each item in each column."""
    best = largest(scores)[scores.owner]
    hit = scores.data == best
    first = scores.data.new_full((scores.items, hit.shape[1]), torch.inf)
    row = torch.arange(len(hit), device=hit.device, dtype=scores.data.dtype)[:, None]
    index = torch.where(hit, row, torch.inf)
    owner = scores.owner[:, None].expand_as(hit)
    first = first.scatter_reduce(0, owner, index, "amin")
    return (row == first[scores.owner]).to(scores.data)


def softened(
    logits: Ragged, temperature: Tensor | float, generator: Source
) -> tuple[Tensor, Tensor]:
    """(N, L) Gumbel softmax over the rows of each item, and the indicators of its largest."""
    gumbel = -random.exponential(logits, generator).data.log().to(logits.data)
    noisy = Ragged((logits.data + gumbel) / temperature, logits.owner, logits.items)
    return log_softmax(noisy).exp(), picked(noisy)


def entropy(logits: Ragged) -> Tensor:
    """(L,) entropy of the mean choice, over its largest value: 1 is all atoms alike, 0 one alone.

    Atoms are counted by their place in the item, so that a latent which always picks the first
    atom has none.
    """
    p = log_softmax(logits).exp()
    place = logits.position
    share = p.new_zeros(int(logits.counts.max()), p.shape[1]).index_add(0, place, p)
    share = share / share.sum(0)
    found: Tensor = torch.special.entr(share).sum(0) / math.log(max(2, len(share)))
    return found


def _folded(told: Fields) -> Ragged:
    """The ligand without a pose: all of its atoms in the middle of the receptor."""
    places: Ragged = told["places"]
    return Ragged(torch.zeros_like(places.data), places.owner, places.items)


def _blank(told: Fields, count: int) -> Tensor:
    places: Ragged = told["places"]
    return places.data.new_zeros(len(places.data) + len(told["kinds"].data), count)
