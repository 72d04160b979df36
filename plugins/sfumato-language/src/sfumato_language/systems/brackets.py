"""Balanced strings of two kinds of brackets: random ones, and a check."""

from __future__ import annotations

__all__ = ["KINDS", "balanced", "brackets"]

import torch
from torch import Generator, Tensor

from sfumato import Padded, random

KINDS = 2
"""Ids 0 and 1 open, 2 and 3 close the same kinds."""

_RATIO = 0.8


def brackets(n: int, pairs: int, generator: Generator) -> Padded:
    """N strings of 1 to `pairs` pairs, as Padded ids (n, 2 pairs).

    A string of k + 1 pairs is 0.8 times as likely as one of k: most are far shorter than the
    longest, as texts are.
    Of one length, every balanced string of brackets is as likely as any other: at height h with r
    brackets to go, one opens with probability (h + 2)(r - h)/(2 r (h + 1)), the share of the ways
    on that begin so (by the reflection principle).
    """
    law = _RATIO ** torch.arange(pairs, dtype=torch.float64)
    count = 2 * (1 + random.categorical((law / law.sum()).expand(n, -1), generator))
    kind = random.integers(0, KINDS, (n, 2 * pairs), generator)
    ahead = random.uniform((n, 2 * pairs), generator)
    height, every = torch.zeros(n, dtype=torch.long), torch.arange(n)
    stack = torch.zeros(n, pairs + 1, dtype=torch.long)
    ids = torch.zeros(n, 2 * pairs, dtype=torch.long)
    for i in range(2 * pairs):
        left = (count - i).clamp_min(1)
        opens = ahead[:, i] < (height + 2) * (left - height) / (2.0 * left * (height + 1))
        closed = stack[every, (height - 1).clamp_min(0)]
        ids[:, i] = torch.where(opens, kind[:, i], KINDS + closed)
        stack[every, height.clamp(0, pairs)] = kind[:, i]  # kept if one opens, else written over
        height = torch.where(i < count, height + torch.where(opens, 1, -1), 0)
    return Padded(ids, torch.arange(2 * pairs) < count[:, None])


def balanced(x: Padded) -> Tensor:
    """(n,) bool: which strings are balanced; an empty one is not counted as such."""
    found = []
    for row, real in zip(x.data, x.mask, strict=True):
        text, stack = row[real].tolist(), []
        good = bool(text)
        for token in text:
            if token < KINDS:
                stack.append(token)
            elif not stack or stack.pop() != token - KINDS:
                good = False
                break
        found.append(good and not stack)
    return torch.tensor(found)
