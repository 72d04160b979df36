"""Recognised: does a classifier see in a sample the class that was asked for?"""

from __future__ import annotations

__all__ = ["Hits", "Recognised"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato import Batch, InputError
from sfumato.state import items

from .score import Better, Score


@dataclass(frozen=True)
class Hits:
    """How many of n items were recognised; adding adds both numbers."""

    n: int
    hits: int

    def __add__(self, other: Hits) -> Hits:
        """Both sets together."""
        return Hits(self.n + other.n, self.hits + other.hits)

    @property
    def share(self) -> float:
        """The share recognised."""
        return self.hits / self.n

    @property
    def error(self) -> float:
        """Standard error of the share, at (hits + 1) / (n + 2): 20 of 20 is not certainty."""
        p = (self.hits + 1) / (self.n + 2)
        return math.sqrt(p * (1 - p) / self.n)


@dataclass(frozen=True)
class Recognised:
    """Share of samples that a classifier assigns to the class asked for; higher is better.

    The floor is the same share on held-out real data, the best that this classifier can see.

    Attributes:
        classify: takes a batch of B items, returns (B, classes) scores, the largest of which wins.
        condition: name of the condition that holds the class asked for, (B,) integers.
    """

    classify: Callable[[Batch], Tensor]
    condition: str = "label"
    name: ClassVar[str] = "recognised"
    better: ClassVar[Better] = "higher"

    def summary(self, batch: Batch) -> Hits:
        """The number of items whose class is recognised.

        Raises:
            InputError: if the batch holds no such condition for every item, or the classifier
                returns another shape or values that are not finite.
        """
        asked = batch.condition.get(self.condition)
        count = items(batch.x)
        if not isinstance(asked, Tensor) or asked.shape != (count,) or asked.is_floating_point():
            raise InputError(
                f"recognised needs the condition {self.condition!r} as ({count},) integers; the "
                f"batch holds the conditions {', '.join(batch.condition) or 'none'}"
            )
        with torch.no_grad():
            scores = self.classify(batch)
        if scores.ndim != 2 or len(scores) != count or not scores.isfinite().all():
            raise InputError(
                f"the classifier returned shape {tuple(scores.shape)} for {count} items, or values "
                f"that are not finite; finite scores of shape ({count}, classes) are needed"
            )
        return Hits(count, int((scores.argmax(1).cpu() == asked.cpu()).sum()))

    def between(self, a: Hits, b: Hits) -> Score:
        """The share of samples `a`, with that of held-out data `b` as the floor."""
        protocol = f"share whose {self.condition} a classifier recognises"
        parts = {"standard error": a.error, "standard error of the floor": b.error}
        return Score(a.share, min(a.n, b.n), b.share, protocol, self.better, parts)
