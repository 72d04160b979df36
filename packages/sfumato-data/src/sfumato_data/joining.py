"""States joined along the batch, whatever their kind."""

from __future__ import annotations

__all__ = ["join"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato import Fields, InputError, Padded, Ragged


def join(states: Sequence[Any]) -> Any:
    """States of one kind as one batch, in order; `Padded` ones are padded to the longest.

    Raises:
        InputError: if there are none.
    """
    if not states:
        raise InputError("there are no states to join")
    first = states[0]
    match first:
        case Ragged():
            shift, owners = 0, []
            for x in states:
                owners.append(x.owner + shift)
                shift += x.items
            return Ragged(torch.cat([x.data for x in states]), torch.cat(owners), shift)
        case Padded():
            ends = torch.tensor([x.mask.shape[1:] for x in states]).amax(0).tolist()
            return Padded(
                torch.cat([_padded(x.data, ends) for x in states]),
                torch.cat([_padded(x.mask, ends) for x in states]),
            )
        case Fields():
            return Fields({k: join([x[k] for x in states]) for k in first})
        case _:
            return torch.cat(list(states))


def _padded(v: Tensor, ends: Sequence[int]) -> Tensor:
    """`v` (B, L, ...) with zeros up to the lengths `ends` of its dimensions after the first."""
    out = v.new_zeros((len(v), *ends, *v.shape[1 + len(ends) :]))
    out[tuple(slice(n) for n in v.shape[: 1 + len(ends)])] = v
    return out
