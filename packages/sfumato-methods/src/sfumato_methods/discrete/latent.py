"""Masked models with a latent variable, which ties the tokens of one step together (VMD).

Variational Masked Diffusion Models, 2025, arXiv:2510.23606: p(x_0 | x_t) is the mean over
z ~ N(0, I) of the product of p(x_0^i | x_t, z). A product of marginals alone cannot draw two
dependent tokens in one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sfumato import Denoiser, Normal, kl, random
from sfumato.sampling import Denoise
from sfumato.state import items, leaf

from .places import at
from .process import Discrete
from .unmasking import masking

__all__ = ["fresh_latents", "latent_bound"]


def latent_bound(
    process: Discrete,
    denoiser: Denoiser,
    x0: Any,
    t: Tensor,
    generator: random.Source,
    *,
    encoder: Callable[[Any, Any, Tensor], Normal],
    beta: float = 1.0,
) -> Tensor:
    """w(t) [sum over masked places of -log p(x_0 | x_t, z) + beta KL(q(z | x_0, x_t) || N(0, I))].

    w = -a'/(1 - a), z ~ q; the KL counts where something is masked. It has to carry the weight of
    the rest: each step of the chain draws a z of its own, so that each pays for its own. Without
    the weight the latent is not used at all.

    Args:
        process: its chain only masks.
        denoiser: `denoiser.given(z=z)` takes latents (B, D) and carries over what is not masked.
        x0: clean ids.
        t: (B,) in (0, 1).
        generator: source of the masks and the latents.
        encoder: maps (x_0, x_t, t) to q, a `Normal` over (B, D).
        beta: weight of the KL; best raised from 0 to 1 in the first third of the training.

    Returns:
        (B,) nats.
    """
    kernel = masking("a masked model with latents", process)
    assert kernel.absorbs is not None
    x = process.marginal(x0, t).sample(generator)
    q = encoder(x0, x, t)
    z = q.sample(generator)
    some = at(x).hidden(x, kernel.absorbs).counts > 0
    divergence = kl(q, Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)))
    nats = denoiser.given(z=z)(x, t).nll(x0) + beta * torch.where(some, divergence, 0.0)
    weight = -kernel.keep.slope(t.double()) / (1 - kernel.keep(t.double()))
    loss: Tensor = nats * weight.to(nats)
    return loss


def fresh_latents(denoiser: Denoiser, size: int, generator: random.Source) -> Denoise:
    """The denoiser with a new z ~ N(0, I) (B, size) for every call: how such models are sampled.

    Each step of a sampler is then a draw of the mixture over z, as the bound is one for each step.

    Args:
        denoiser: `denoiser.given(z=z)` takes latents (B, D).
        size: D.
        generator: source of the latents; not the one given to the sampler but a fork of it.
    """

    def call(x: Any, t: Any) -> Any:
        like = torch.zeros(items(x), size, device=leaf(x).device)
        return denoiser.given(z=random.normal(like, generator))(x, t)

    return call
