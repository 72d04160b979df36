"""What single precision does to a categorical draw: the exact law of a truncated Gumbel race.

Zheng et al. 2024, arXiv:2409.02908, section 4: uniform numbers of b bits are at most 1 - 2^-b, so
that Gumbel noise ends at M = -log(-log(1 - 2^-b)), 16.6 for b = 24. The mask, of weight near 1 in
each of many small steps, wins too often against rare tokens, which lowers the temperature.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfumato import InputError

__all__ = ["chain_law", "entropy_ratio", "race_law"]


def race_law(weights: Tensor, bits: int = 24) -> Tensor:
    """(K,) law of argmax(log w + g), g Gumbel noise cut off at what `bits` random bits can reach.

    With w descending, W_j = w_0 + ... + w_j, e = exp(-M): while the maximum lies between
    log w_(j+1) + M and log w_j + M, classes 0..j are in the race, and P(n) = w_n times the sum over
    j >= n of exp((j + 1) e)/W_j [exp(-W_j exp(-y))] between these ends.

    Args:
        weights: (K,) positive or zero, not necessarily normalised.
        bits: random bits of the uniform numbers: 24 in float32, 53 in float64.
    """
    order = weights.double().argsort(descending=True)
    w = weights.double()[order]
    w = w / w.sum()
    e = -math.log1p(-(2.0**-bits))  # exp(-M)
    total, count = w.cumsum(0), torch.arange(1, len(w) + 1, dtype=torch.float64, device=w.device)
    # exp(-y) at y = log w_j + M is e/w_j
    some = w > 0
    lower = torch.where(some, total * e / torch.where(some, w, 1.0), torch.inf)
    upper = torch.cat([lower[1:] * total[:-1] / total[1:], lower.new_full((1,), torch.inf)])
    lead = count * e
    segment = ((lead - lower).exp() - (lead - upper).exp()) / total
    law = w * segment.flip(0).cumsum(0).flip(0)
    return torch.empty_like(law).index_copy(0, order, law / law.sum())


def chain_law(probs: Tensor, steps: int, bits: int = 24) -> Tensor:
    """(K,) law of the token that an ancestral sampler of `steps` even steps draws by such races.

    In the step from t to s the race is among tokens of weight p (t - s)/t and the mask, s/t.

    Args:
        probs: (K,) the law that should be drawn, whatever the time.
        steps: number of steps of a linear schedule.
        bits: see `race_law`.
    """
    if steps < 1:
        raise InputError(f"a chain has at least one step, not {steps}")
    masked = torch.ones((), dtype=torch.float64, device=probs.device)
    law = torch.zeros_like(probs, dtype=torch.float64)
    for left in range(steps, 0, -1):
        weights = torch.cat([probs.double() / left, masked.new_full((1,), (left - 1) / left)])
        drawn = race_law(weights, bits)
        law = law + masked * drawn[:-1]
        masked = masked * drawn[-1]
    return law


def entropy_ratio(probs: Tensor, steps: int, bits: int = 24) -> float:
    """Entropy of `chain_law` over that of the law itself: 1 for exact draws.

    For 50,257 tokens of Zipf's law it is 0.95 at 64 steps and 0.81 at 1,024 in float32, and 1 up to
    1e-6 in float64.
    """
    p, q = probs.double(), chain_law(probs, steps, bits)
    return float(torch.special.entr(q).sum() / torch.special.entr(p / p.sum()).sum())
