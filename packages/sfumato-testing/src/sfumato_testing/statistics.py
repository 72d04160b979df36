"""Comparing two laws through bounded features of their draws.

Means of bounded features obey the central limit theorem whatever the tails of the law, so that one
bound serves all processes; variances of heavy tails would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .states import valid

__all__ = ["ALARM", "compare", "z_bound"]

ALARM = 1e-6
"""Chance that a check which rests on draws fails although its law holds (seeds are fixed)."""


def z_bound(count: int, alarm: float = ALARM) -> float:
    """Bound that none of `count` standard normal numbers exceeds, but for a chance `alarm`."""
    return NormalDist().inv_cdf(1 - alarm / (2 * count))


def _features(a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(copies, P) bounded features of both sides, scaled by medians of the second."""
    left, right = [], []
    for u, v in zip(a, b, strict=True):
        if v.is_floating_point():
            middle = v.median(0).values
            width = (v - middle).abs().median(0).values
            width = 2 * width + 1e-12 * (1 + middle.abs())
            left.append(torch.tanh((u - middle) / width))
            right.append(torch.tanh((v - middle) / width))
        else:
            classes = int(max(u.max(), v.max())) + 1
            left.append(F.one_hot(u.long(), classes).flatten(1).double())
            right.append(F.one_hot(v.long(), classes).flatten(1).double())
    return torch.cat(left, 1), torch.cat(right, 1)


def _moments(u: Tensor) -> tuple[Tensor, Tensor]:
    """Means of all features and of all their products, and the variances of both."""
    second = u.T @ u / len(u)
    fourth = u.square().T @ u.square() / len(u)
    mean = u.mean(0)
    return (
        torch.cat([mean, second.flatten()]),
        torch.cat([second.diagonal() - mean.square(), (fourth - second.square()).flatten()]),
    )


def compare(what: str, got: Any, want: Any, copies: int, tests: int = 1, slack: float = 0) -> None:
    """Assert that two states of equally many copies are draws of the same law.

    Compared are the means of tanh of every standardised number and of the indicator of every class,
    and of all products of two of them, with Bonferroni's bound.

    Args:
        what: what is being compared, for the message.
        got: state of copies B items.
        want: state of the same layout.
        copies: number of independent copies.
        tests: number of such comparisons in the check, which share its alarm rate.
        slack: difference of means that is allowed.
    """
    sides = [[v.detach().reshape(copies, -1) for v in valid(x)] for x in (got, want)]
    for v in sides[0]:
        assert not v.is_floating_point() or bool(v.isfinite().all()), f"{what}: not finite"
    left, right = _features(
        [v.double() if v.is_floating_point() else v for v in sides[0]], sides[1]
    )
    (mean_a, var_a), (mean_b, var_b) = _moments(left), _moments(right)
    error = ((var_a + var_b).clamp_min(0) / copies + copies**-2).sqrt()
    z = ((mean_a - mean_b).abs() - slack).clamp_min(0) / error
    bound = z_bound(len(z) * tests)
    worst = float(z.max())
    assert worst <= bound, (
        f"{what}: the laws differ, worst of {len(z)} bounded features at z = {worst:.1f} "
        f"(bound {bound:.1f}, {copies} draws)"
    )
