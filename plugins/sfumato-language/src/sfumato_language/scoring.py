"""How likely texts are: the bound of all orders, with its standard error over documents."""

from __future__ import annotations

__all__ = ["Likelihood", "score"]

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato import Model, random
from sfumato_data import move
from sfumato_train.drawing import device_of

from .denoiser import masked
from .objective import cross_entropy, hide
from .windows import Windows

DRAWS = 8
"""Sets of hidden tokens that each window is measured with."""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Likelihood:
    """Nats of documents.

    Attributes:
        nats: (D,) of each, an upper bound on -log p.
        tokens: (D,) of each, its end included.
        characters: (D,) of each.
    """

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    characters: NDArray[np.int64]

    def per(self, counts: NDArray[np.int64]) -> tuple[float, float]:
        """Nats by tokens or characters, and the standard error of that ratio over documents.

        The error is that of a ratio of two sums (Cochran, "Sampling techniques", 1977, section
        2.11); of one document it is not known (NaN).
        """
        ratio = float(self.nats.sum() / counts.sum())
        rest = self.nats - ratio * counts
        n = len(rest)
        error = math.sqrt(float((rest**2).sum()) * n / (n - 1)) if n > 1 else math.nan
        return ratio, error / float(counts.sum())


@torch.no_grad()
def score(
    model: Model,
    data: Windows,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    batch: int = 64,
    tell: Callable[[int, int], None] | None = None,
) -> Likelihood:
    """The any-order bound of each document: see `objective.AnyOrder`.

    A window of L tokens is measured with `draws` sets of hidden tokens, whose sizes are spread over
    1..L by low discrepancy, the same for every model and batch size: differences between models
    are not those of the draws. Windows are measured one by one, so that the first tokens of a
    window are not told what came before it.

    Args:
        model: a model of texts.
        data: windows of whole documents.
        draws: sets for each window.
        seed: of the sets.
        batch: windows in memory at a time.
        tell: is told how many windows are done, of how many.
    """
    denoiser, home = masked(model), device_of(model)
    total = np.zeros(len(data.shards.keys))
    for start in range(0, len(data), batch):
        index = range(start, min(start + batch, len(data)))
        part = move(data.batch(index), home)
        mask = part.x.mask
        noise = torch.zeros(draws, *mask.shape, dtype=torch.float64)
        for row, window in enumerate(index):
            shape = (draws, int(data.about["length"]))
            drawn = random.uniform(shape, random.derive(seed, "score", window))
            noise[:, row] = drawn[:, : mask.shape[1]]
        offset = torch.tensor([(window + 0.5) * _GOLDEN % 1 for window in index])
        nats = torch.zeros(mask.shape, dtype=torch.float64, device=home)
        for j in range(draws):
            share = ((j + offset.double()) / draws).to(home)
            at, count = hide(mask, share, noise[j].to(home))
            weight = mask.sum(1).double() / count / draws
            nats += cross_entropy(denoiser, part, at, mask).double() * weight[:, None]
        _add(total, data, index, nats.cpu().numpy())
        if tell is not None:
            tell(index.stop, len(data))
    there = np.unique(data.segments[:, 0])
    return Likelihood(total[there], data.shards.lengths[there], data.shards.characters[there])


def _add(
    total: NDArray[np.float64], data: Windows, index: range, nats: NDArray[np.float64]
) -> None:
    """Add the nats of windows to the documents that they are of."""
    for row, window in enumerate(index):
        at = 0
        for document, _, length in data.of(window):
            total[document] += nats[row, at : at + length].sum()
            at += length
