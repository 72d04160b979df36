"""How likely texts are: bounds on -log p, with their standard error over documents.

Of masked models the bound of all orders, block by block of those that write so (BD3LM); of models
that say ratios (SEDD), and of chains that replace tokens (Duo), that of continuous time.
"""

from __future__ import annotations

__all__ = ["Likelihood", "score"]

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import Batch, Denoiser, InputError, Model, Padded, kl, random
from sfumato_data import move
from sfumato_methods.discrete import Discrete
from sfumato_methods.discrete.losses import score_entropy_at
from sfumato_train.drawing import device_of

from .ddit import BlockwiseTransformer
from .denoiser import ScoreTextDenoiser, TextDenoiser, masked
from .objective import cross_entropy, hide
from .windows import Windows

DRAWS = 8
"""States, or sets of hidden tokens, that each window is measured with."""

_LAST = 1 - 1e-3
"""Where a chain that replaces ends in time: what is left of the data there is a term of its own."""

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
    """An upper bound on the nats of each document.

    Of a masked model it is the any-order bound, see `objective.AnyOrder`: a window of L tokens is
    measured with `draws` sets of hidden tokens, whose sizes are spread over 1..L by low
    discrepancy. Of one that writes blocks it is the sum of the bounds of each block, given those
    before (Arriola et al. 2025, arXiv:2503.09573, section 3), at a call for each block. Of other
    chains it is that of continuous time, `score_entropy` of sfumato-methods (SEDD: Lou et al. 2023,
    arXiv:2310.16834, theorem 3.6; Duo: Sahoo et al. 2025, arXiv:2506.10892), at `draws` times of
    the arcsine law that are spread likewise, and the divergence from the prior where the times end;
    rare states weigh much in it, and it takes more draws. Sets, times and noise are the same
    whatever the batch size, and for every model of a kind: differences between models are not those
    of the draws. Windows are measured one by one, so that the first tokens of a window are not told
    what came before it.

    Args:
        model: a model of texts.
        data: windows of whole documents.
        draws: sets, or times, for each window.
        seed: of the sets and the noise.
        batch: windows in memory at a time.
        tell: is told how many windows are done, of how many.

    Raises:
        InputError: if no bound is known of the model, or windows hold several documents and the
            model is none that masks.
    """
    measure = _measure(model, data)
    home = device_of(model)
    total = np.zeros(len(data.shards.keys))
    for start in range(0, len(data), batch):
        index = range(start, min(start + batch, len(data)))
        part = move(data.batch(index), home)
        _add(total, data, index, measure(part, index, draws, seed).cpu().numpy())
        if tell is not None:
            tell(index.stop, len(data))
    there = data.documents()
    return Likelihood(total[there], data.shards.lengths[there], data.shards.characters[there])


_Measure = Callable[[Batch, range, int, int], Tensor]
"""Windows, their numbers, draws and seed to (B, L) nats, of a token or shared among tokens."""


def _measure(model: Model, data: Windows) -> _Measure:
    process, denoiser = model.process, model.denoiser
    told = isinstance(denoiser, ScoreTextDenoiser)
    known = told or isinstance(denoiser, TextDenoiser)
    found: _Measure
    if known and isinstance(process, Discrete) and (told or process.kernel.absorbs is None):
        found = partial(_continuous, process, denoiser)
    elif isinstance(masked(model).net, BlockwiseTransformer):
        found = partial(_by_block, masked(model), getattr(model.blank, "begin", None))
    else:
        return partial(_any_order, masked(model), int(data.about["length"]))
    if data.pack:
        raise InputError("this model takes one document a window: read them with pack=False")
    return found


def _any_order(
    denoiser: TextDenoiser, length: int, part: Batch, index: range, draws: int, seed: int
) -> Tensor:
    mask = part.x.mask
    noise = torch.zeros(draws, *mask.shape, dtype=torch.float64)
    for row, window in enumerate(index):
        drawn = random.uniform((draws, length), random.derive(seed, "score", window))
        noise[:, row] = drawn[:, : mask.shape[1]]
    nats = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
    for j in range(draws):
        at, count = hide(mask, _spread(index, j, draws).to(mask.device), noise[j].to(mask.device))
        weight = mask.sum(1).double() / count / draws
        nats += cross_entropy(denoiser, part, at, mask).double() * weight[:, None]
    return nats


def _by_block(
    denoiser: TextDenoiser, begin: int | None, part: Batch, index: range, draws: int, seed: int
) -> Tensor:
    """As `_any_order`, of one block after the other; `begin` stands before every text."""
    ids, real = part.x.data, part.x.mask
    first = int(begin is not None)
    if begin is not None:
        ids = torch.cat((torch.full_like(ids[:, :1], begin), ids), 1)
        real = torch.cat((torch.ones_like(real[:, :1]), real), 1)
    net: Any = denoiser.net
    size, width = int(net.shape.block), ids.shape[1]
    nats = torch.zeros(real.shape, dtype=torch.float64, device=real.device)
    streams = random.Streams.derive(seed, "score", index)
    for start, j in itertools.product(range(0, width, size), range(draws)):
        stop = min(start + size, width)
        noise = torch.stack([random.uniform((size,), one) for one in streams])
        free = torch.zeros_like(real[:, :stop])
        free[:, max(start, first) :] = real[:, max(start, first) : stop]
        rows = free.any(1)
        free, share = free[rows], _spread(index, j, draws).to(real.device)[rows]
        spread = torch.zeros(free.shape, dtype=torch.float64, device=real.device)
        spread[:, start:] = noise.to(real.device)[rows, : stop - start]
        at, count = hide(free, share, spread)
        whole = Batch(Padded(ids[rows, :stop], real[rows, :stop]))
        weight = free.sum(1).double() / count / draws
        nats[rows, :stop] += cross_entropy(denoiser, whole, at, free).double() * weight[:, None]
    return nats[:, first:]


def _continuous(
    process: Discrete, denoiser: Denoiser, part: Batch, index: range, draws: int, seed: int
) -> Tensor:
    x0: Padded = part.x
    last = 1.0 if process.kernel.absorbs is not None else _LAST
    end = torch.full((len(index),), last, dtype=torch.float64, device=x0.data.device)
    total = kl(process.marginal(x0, end), process.prior(x0)).double()
    streams = random.Streams.derive(seed, "score", index)
    for j in range(draws):
        angle = _spread(index, j, draws).to(end.device) * math.pi / 2
        t = end * angle.sin() ** 2  # rare states of weight 1/t or 1/(1 - t) have a variance now
        weight = end * math.pi / 2 * (2 * angle).sin() / draws
        x = process.marginal(x0, t).sample(streams)
        said = process.ratios(denoiser(x, t), x, t)
        total += weight * score_entropy_at(process, said, x0, x, t)
    return x0.mask * (total / x0.mask.sum(1))[:, None]


def _spread(index: range, j: int, draws: int) -> Tensor:
    """(B,) the j-th share of each window, in (0, 1)."""
    offset = torch.tensor([(window + 0.5) * _GOLDEN % 1 for window in index])
    return (j + offset.double()) / draws


def _add(
    total: NDArray[np.float64], data: Windows, index: range, nats: NDArray[np.float64]
) -> None:
    """Add the nats of windows to the documents that they are of."""
    for row, window in enumerate(index):
        at = 0
        for document, _, length in data.of(window):
            total[document] += nats[row, at : at + length].sum()
            at += length
