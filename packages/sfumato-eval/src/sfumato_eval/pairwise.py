"""How far what was made is from what should have been made, pair by pair, in features."""

from __future__ import annotations

__all__ = ["apart"]

import torch

from sfumato import Batch, InputError, state

from .features import Features
from .score import Score

_CHUNK = 256  # pairs that are looked at together


def apart(features: Features, targets: Batch, made: Batch) -> Score:
    """Mean over pairs of the root mean square difference of the two items' features.

    Where features have unit variance, two items that have nothing to do with each other are about
    sqrt(2) apart, and equal ones 0.

    Args:
        features: where the distance is taken.
        targets: n items.
        made: n items, each made for the target of its number.

    Raises:
        InputError: if the numbers of items differ or are 0, or the features are not finite.
    """
    count = state.items(targets.x)
    if count != state.items(made.x) or not count:
        raise InputError(f"{state.items(made.x)} items were made for {count} targets")
    far = []
    for index in torch.split(torch.arange(count), _CHUNK):
        one, other = (
            features(Batch(state.select(side.x, index))).double() for side in (targets, made)
        )
        far.append((one - other).square().mean(1).sqrt())
    values = torch.cat(far)
    parts = {"standard error": float(values.std() / count**0.5)} if count > 1 else {}
    told = f"mean over pairs of the root mean square difference, features {features.name}"
    return Score(float(values.mean()), count, None, told, "lower", parts)
