"""Cross-entropy where tokens were replaced: simple losses of uniform-state models (SDDLM).

Zhu et al. 2025, arXiv:2510.22926. A token of x_t was kept, or resampled from the limit law of the
chain; a resampled one may come out as it was. Which of the two happened says what is learnt:

- `denoise_resampled` takes all resampled places. There x_t tells nothing of x_0, so that
  what is learnt is p(x_0 | the other places): what `JointDiscrete` takes, exactly.
- `denoise_replaced` takes the places that differ, as published. There x_0 is never x_t, so
  that the network gives its own token no probability and the chain keeps throwing good ones away.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Unsupported, random
from sfumato.sampling import Denoise
from sfumato.state import item_count, leaf

from .kernels import RankOne
from .places import Places, at, put
from .process import Discrete

__all__ = ["contrastive", "denoise_replaced", "denoise_resampled"]


def _resampled(
    process: Discrete, x0: Any, t: Tensor, generator: random.Source
) -> tuple[Any, Places]:
    """x_t, and the places at which it was resampled."""
    kernel = process.kernel
    if not isinstance(kernel, RankOne):
        raise Unsupported(f"tokens are resampled by rank-one kernels; {process} has another")
    every = at(x0)
    kept = every.time(x0, kernel.keep(t.double()))
    drawn = every.pick(every.uniform(generator) >= kept)
    level = kernel.law.cumsum(0)
    ids = torch.searchsorted(level, drawn.uniform(generator) * level[-1], right=True)
    return put(x0, drawn.index, ids.clamp(max=kernel.classes - 1)), drawn


def _mean(values: Tensor, places: Places, process: Discrete, x0: Any, t: Tensor) -> Tensor:
    """(B,) sums over the places of each item, over how many of its tokens are resampled on average.

    Not over how many were: that number depends on x_0 given x_t, and would turn the minimum away
    from the conditional law.
    """
    total = values.new_zeros(places.items).index_add(0, places.owner, values)
    kernel = process.kernel
    assert isinstance(kernel, RankOne)
    expected = item_count(x0) * (1 - kernel.keep(t.double()))
    return total / expected.to(total).clamp_min(1e-6)


def _told(q: Any, places: Places, x0: Any) -> tuple[Tensor, Tensor]:
    """Log probabilities (n, K) at some places, and that of the clean token (n,)."""
    logits = leaf(q.logits)
    rows = logits.reshape(-1, logits.shape[-1])[places.index]
    return rows, rows.gather(-1, places.read(x0)[:, None])[:, 0]


def denoise_resampled(
    process: Discrete, denoiser: Denoise, x0: Any, t: Tensor, generator: random.Source
) -> Tensor:
    """Sum of -log p(x_0 | x_t) over the resampled places, over their expected number.

    Its minimum over networks is p(x_0 | the other places of x_t), for each place.

    Args:
        process: a rank-one chain.
        denoiser: returns a `Categorical`.
        x0: clean ids.
        t: (B,) in (0, 1).
        generator: source of the noise.

    Returns:
        (B,) nats per resampled token.
    """
    x, places = _resampled(process, x0, t, generator)
    return _mean(-_told(denoiser(x, t), places, x0)[1], places, process, x0, t)


def denoise_replaced(
    process: Discrete, denoiser: Denoise, x0: Any, t: Tensor, generator: random.Source
) -> Tensor:
    """The same over the places where x_t differs from x_0 (Zhu et al. 2025, eq. 7)."""
    x, places = _resampled(process, x0, t, generator)
    places = places.pick(places.read(x) != places.read(x0))
    return _mean(-_told(denoiser(x, t), places, x0)[1], places, process, x0, t)


def contrastive(
    process: Discrete,
    denoiser: Denoise,
    x0: Any,
    t: Tensor,
    generator: random.Source,
    *,
    weight: float = 0.05,
    negatives: int = 2,
) -> Tensor:
    """`denoise_replaced`, and a push away from wrong tokens at the same places.

    The push is -weight log(1 - p(n | x_t)), averaged over `negatives` uniform draws n != x_0 and
    the noisy token itself: a reconstruction from the description of the authors.

    Args:
        process: a rank-one chain.
        denoiser: returns a `Categorical`.
        x0: clean ids.
        t: (B,) in (0, 1).
        generator: source of the noise and the negatives.
        weight: of the push; above 0.1 it is unstable.
        negatives: uniform draws for each place.

    Returns:
        (B,) nats per token.
    """
    if weight < 0 or negatives < 0:
        raise InputError(f"weight and negatives are not negative, but were {weight}, {negatives}")
    x, places = _resampled(process, x0, t, generator)
    places = places.pick(places.read(x) != places.read(x0))
    rows, told = _told(denoiser(x, t), places, x0)
    right, wrong = places.read(x0), [places.read(x)]
    for _ in range(negatives):
        shift = (places.uniform(generator) * (rows.shape[-1] - 1)).long()
        wrong.append((right + 1 + shift) % rows.shape[-1])
    p = rows.exp().gather(-1, torch.stack(wrong, -1)).clamp(max=1 - 1e-4)
    push = -torch.log1p(-p).mean(-1)
    return _mean(-told + weight * push, places, process, x0, t)
