"""Matched: can it be seen in a picture which caption it was asked for with?"""

from __future__ import annotations

__all__ = ["Matched", "Pairs", "fit"]

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError, random
from sfumato_eval import Features, Score
from sfumato_eval.score import Better

from .captions import VECTOR

CHOICES = 50
"""Captions among which a picture's own one is to be found, where there are so many."""

_MOST = 5000  # training pictures that the regression is fitted to
_PENALTIES = np.logspace(-1, 5, 13)


@dataclass(frozen=True)
class Pairs:
    """Predicted and true vectors of captions; adding joins them."""

    predicted: Tensor  # (N, D)
    asked: Tensor  # (N, D)

    def __add__(self, other: Pairs) -> Pairs:
        """Both sets together."""
        return Pairs(
            torch.cat((self.predicted, other.predicted)), torch.cat((self.asked, other.asked))
        )


@dataclass(frozen=True)
class Matched:
    """Share of pictures whose own caption is found among 50 captions; higher is better.

    A linear map from features of a picture predicts the vector of its caption. It is a hit if the
    prediction is nearer, by cosine, to its own caption than to 49 others, drawn at random from the
    held-out ones that differ from it; by chance 1 in 50 is. The floor is the same share for real
    held-out pictures, the best that this map can see.

    Attributes:
        seen: the features.
        weights: (F, D) of the map.
        offset: (D,) of the map.
    """

    seen: Features
    weights: Tensor
    offset: Tensor
    name: ClassVar[str] = "matched"
    better: ClassVar[Better] = "higher"

    def summary(self, batch: Batch) -> Pairs:
        """What is predicted and what was asked for.

        Raises:
            InputError: if the batch has no captions.
        """
        asked = batch.condition.get(VECTOR)
        if not isinstance(asked, Tensor) or asked.ndim != 2 or len(asked) != len(batch.x):
            raise InputError(f"matched needs the condition {VECTOR!r}, a vector for each picture")
        return Pairs(self.seen(batch).double() @ self.weights + self.offset, asked.double().cpu())

    def between(self, a: Pairs, b: Pairs) -> Score:
        """The share of pictures `a`, among captions of held-out ones `b`, with that of `b`."""
        (value, choices), (floor, _) = _share(a, b.asked), _share(b, b.asked)
        protocol = (
            f"share whose caption, of {choices} held-out ones, is nearest to what ridge regression "
            f"predicts; features: {self.seen.name}"
        )
        error = math.sqrt(max(value * (1 - value), 1 / len(a.asked)) / len(a.asked))
        parts = {"by chance": 1 / choices, "standard error": error}
        return Score(value, min(len(a.asked), len(b.asked)), floor, protocol, "higher", parts)


def _share(pairs: Pairs, captions: Tensor) -> tuple[float, int]:
    """How often the caption of a pair is nearest to its prediction, and of how many captions.

    Raises:
        InputError: if there are no two different captions.
    """
    different = _unit(torch.unique(captions, dim=0))
    choices = min(CHOICES, len(different))
    if choices < 2:
        raise InputError("matched chooses among captions, but all held-out pictures have the same")
    generator = random.derive(0, "matched")
    hits = 0
    for predicted, asked in zip(_unit(pairs.predicted), _unit(pairs.asked), strict=True):
        some = different[random.permutation(len(different), generator)[:choices]]
        others = some[(some - asked).abs().amax(1) > 1e-6][: choices - 1]
        hits += bool(predicted @ asked > (others @ predicted).max())
    return hits / len(pairs.asked), choices


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


def fit(train: Dataset, seen: Features) -> Matched:
    """The metric, its map fitted to training pictures by ridge regression.

    The penalty is the one of thirteen that predicts pictures left out best.
    """
    from sklearn.linear_model import RidgeCV

    index = random.permutation(len(train), random.derive(0, "matched", "items"))[:_MOST].tolist()
    batches = [train.batch(index[i : i + 256]) for i in range(0, len(index), 256)]
    rows = torch.cat([seen(batch) for batch in batches]).double()
    asked = torch.cat([batch.condition[VECTOR] for batch in batches]).double()
    ridge = RidgeCV(alphas=_PENALTIES).fit(rows.numpy(), asked.numpy())
    weights = torch.from_numpy(np.ascontiguousarray(ridge.coef_.T))
    return Matched(seen, weights, torch.from_numpy(np.asarray(ridge.intercept_)))
