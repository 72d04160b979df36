"""Features: what a metric looks at, one vector per item."""

from __future__ import annotations

__all__ = ["Features", "pixels", "remembered"]

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato import Batch, InputError
from sfumato.state import items

from .sketch import Vectors


@dataclass(frozen=True)
class Features:
    """A named map from a batch to one vector per item; any state kind, any network.

    Attributes:
        name: stands in the protocol of every score made with these features.
        function: takes a batch of B items, returns (B, d) numbers.
    """

    name: str
    function: Callable[[Batch], Tensor]

    def __call__(self, batch: Batch) -> Tensor:
        """(B, d) finite features on the CPU, single or double precision, without gradients.

        Raises:
            InputError: if the function returns another shape, or values that are not finite.
        """
        with torch.no_grad():
            values = self.function(batch)
        count = items(batch.x)
        if values.ndim != 2 or len(values) != count or values.shape[1] == 0:
            raise InputError(
                f"the features {self.name!r} have shape {tuple(values.shape)} for {count} items; "
                f"({count}, d) with d at least 1 is needed"
            )
        values = values.detach().cpu()
        if values.dtype != torch.float64:
            exact = not values.is_floating_point()  # integers above 2^24 need double precision
            values = values.to(torch.float64 if exact else torch.float32)
        bad = (~values.isfinite()).any(1).nonzero().flatten()
        if len(bad):
            raise InputError(
                f"the features {self.name!r} are NaN or infinite for {len(bad)} of {count} items, "
                f"the first being number {int(bad[0])} of the batch"
            )
        return values

    def vectors(self, batch: Batch, most: int | None = None) -> Vectors:
        """The features of a batch as a summary that keeps `most` items; raises as the call does."""
        values = self(batch)
        return Vectors.of(values, values.shape[1], most)


def remembered(features: Features) -> Features:
    """The same features, which look at a batch only once when several metrics ask one by one."""
    last: list[tuple[weakref.ref[Batch], Tensor]] = []

    def look(batch: Batch) -> Tensor:
        if not last or last[0][0]() is not batch:
            last[:] = [(weakref.ref(batch), features.function(batch))]
        return last[0][1]

    return Features(features.name, look)


def _flat(batch: Batch) -> Tensor:
    if not isinstance(batch.x, Tensor):
        raise InputError(
            f"the features 'pixels' need states that are one tensor, not {type(batch.x).__name__}; "
            "pass Features(name, function) with a function that makes a vector of each item"
        )
    return batch.x.reshape(len(batch.x), -1)


pixels = Features("pixels", _flat)
"""The state itself, each item flattened to one vector."""
