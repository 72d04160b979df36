"""A small network with a latent variable, its encoder, and how both are trained and sampled."""

from __future__ import annotations

__all__ = ["LatentNet", "masked", "variational"]

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import Denoiser, Normal, Trial, random, sample
from sfumato_methods.discrete import CachedAncestral, Discrete, TokenDenoiser, absorbing
from sfumato_methods.discrete.anyorder import any_order
from sfumato_methods.discrete.latent import fresh_latents, latent_bound
from sfumato_train.runs import fresh

from .fitting import PerItem, scaled, trained

SIZE, WIDTH = 8, 128
"""Of the latent and of the layers."""
WARM = 0.3
"""Share of the training in which the weight of the divergence rises to 1."""
FIRST = 1e-3
"""Smallest time in training: the weight of the bound is 1/t."""


class LatentNet(nn.Module):
    """All places of a short sequence in one perceptron, and a latent beside them.

    Args:
        tokens: K; the id K is the mask.
        length: L.
    """

    def __init__(self, tokens: int, length: int) -> None:
        super().__init__()
        self.classes, self.length = tokens + 1, length
        self.body = _perceptron(length * self.classes + SIZE, length * self.classes)

    def forward(self, x: Tensor, clock: Tensor, *, z: Tensor | None = None) -> Any:
        """Logits (B, L, K + 1) of ids (B, L) and latents (B, D), or 0 without."""
        z = torch.zeros(len(x), SIZE) if z is None else z
        seen = F.one_hot(x, self.classes).float().flatten(1)
        out: Tensor = self.body(torch.cat((seen, z.float()), 1))
        return out.reshape(-1, self.length, self.classes)


class _Encoder(nn.Module):
    """q(z | x_0, x_t), a normal."""

    def __init__(self, tokens: int, length: int) -> None:
        super().__init__()
        self.classes = tokens + 1
        self.body = _perceptron(2 * length * self.classes, 2 * SIZE)

    def forward(self, x0: Tensor, x: Tensor, t: Tensor) -> Normal:
        seen = F.one_hot(torch.cat((x0, x), 1), self.classes).float().flatten(1)
        mean, spread = self.body(seen).chunk(2, 1)
        return Normal(mean, F.softplus(spread) + 1e-3)


class _Variational(PerItem):
    """`latent_bound`, its divergence weighted from 0 to 1 in the first steps."""

    beta: Tensor

    def __init__(self, denoiser: TokenDenoiser, encoder: _Encoder, steps: int) -> None:
        super().__init__(denoiser, self._bound)
        self.encoder, self.steps = encoder, steps
        self.register_buffer("beta", torch.zeros(()))

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": nn.ModuleList((self.denoiser, self.encoder))}

    def _bound(
        self, process: Discrete, denoiser: Denoiser, x0: Tensor, t: Tensor, generator: Generator
    ) -> Tensor:
        t = t.clamp_min(FIRST)
        return latent_bound(
            process, denoiser, x0, t, generator, encoder=self.encoder, beta=float(self.beta)
        )

    def after(self, player: str, step: int) -> None:
        self.beta.fill_(min(1.0, (step + 1) / max(1.0, WARM * self.steps)))


def _perceptron(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inward, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
        nn.Linear(WIDTH, outward),
    )  # fmt: skip


def _denoiser(train: Tensor, tokens: int, seed: int) -> TokenDenoiser:
    net = fresh(seed, lambda: LatentNet(tokens, train.shape[1]))
    return TokenDenoiser(net, Discrete(absorbing(tokens)))


def _one_step(denoiser: TokenDenoiser, ask: Any, n: int, length: int, seed: int) -> Tensor:
    found: Tensor = sample(
        denoiser.process, ask, torch.zeros(n, length, dtype=torch.long),
        sampler=CachedAncestral(), grid=torch.tensor([1.0, 0.0], dtype=torch.float64),
        generator=random.derive(seed, "sampling"),
    )  # fmt: skip
    return found


def variational(
    train: Tensor, tokens: int, n: int, given: Trial, steps: int, batch: int, lr: float
) -> Tensor:
    """(n, L) samples in one step of a model with a latent, trained on (N, L) ids."""
    denoiser, length = _denoiser(train, tokens, given.seed), train.shape[1]
    encoder = fresh(given.seed, lambda: _Encoder(tokens, length))
    objective = _Variational(denoiser, encoder, scaled(steps, given))
    better = trained(objective, train, given, name="vmd", steps=steps, batch=batch, lr=lr)
    ask = fresh_latents(better, SIZE, random.derive(given.seed, "latents"))
    return _one_step(better, ask, n, length, given.seed)


def masked(
    train: Tensor, tokens: int, n: int, given: Trial, steps: int, batch: int, lr: float
) -> Tensor:
    """The same of a masked model: the same network, the latent held at 0."""
    objective = PerItem(_denoiser(train, tokens, given.seed), any_order)
    better = trained(objective, train, given, name="mdm", steps=steps, batch=batch, lr=lr)
    return _one_step(better, better, n, train.shape[1], given.seed)
