"""Order-agnostic models: their objective, and how to spend a budget of calls (ARDM).

Hoogeboom et al. 2021, arXiv:2110.02037. A model of masked tokens knows the law of every token given
any others; generating several in one call costs what they would have told each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato import InputError, random
from sfumato.sampling import Denoise
from sfumato.state import item_count, leaf

from .kernels import RankOne
from .places import at, put
from .process import Discrete
from .unmasking import masking

__all__ = ["any_order", "budget", "budget_grid", "costs", "spent"]


def _masked(process: Discrete, x0: Any, hide: Tensor, generator: random.Source) -> Any:
    """x0 with `hide` (B,) tokens of each item masked, all sets of places equally likely."""
    every, mask = at(x0), masking("an order-agnostic model", process).absorbs
    assert mask is not None
    chosen = every.pick(every.best(every.uniform(generator), hide))
    return put(x0, chosen.index, torch.full_like(chosen.index, mask))


def _clock(kernel: RankOne, share: Tensor) -> Tensor:
    """When a chain has that share of masks."""
    return kernel.keep.inverse(1 - share)


def any_order(
    process: Discrete, denoiser: Denoise, x0: Any, t: Tensor, generator: random.Source
) -> Tensor:
    """(L/n) sum over n masked places of -log p(x_0 | the others), n uniform on 1..L.

    Hoogeboom et al. 2021, eq. 7. Its mean is the mean over all orders of the exact -log p(x_0) of
    the model in that order, which is the masked bound in continuous time for every schedule (Zheng
    et al. 2024, arXiv:2409.02908, section 3.1), with less variance: n is drawn, not each mask.

    Args:
        process: its chain only masks.
        denoiser: carries over what is not masked, as `TokenDenoiser` does.
        x0: clean ids.
        t: (B,) uniform on [0, 1), better stratified: n = 1 + floor(t L).
        generator: source of the places.

    Returns:
        (B,) nats.
    """
    length = item_count(x0).to(t.device)
    count = 1 + torch.minimum((t * length).floor(), length - 1)
    kernel = masking("an order-agnostic model", process)
    x = _masked(process, x0, count.long().to(leaf(x0).device), generator)
    nats: Tensor = denoiser(x, _clock(kernel, count / length)).nll(x0)
    return nats * (length / count).to(nats)


def costs(process: Discrete, denoiser: Denoise, x0: Any, generator: random.Source) -> Tensor:
    """(L,) mean nats of a token when s = 0..L - 1 others are known; L calls.

    Args:
        process: its chain only masks.
        denoiser: carries over what is not masked.
        x0: clean ids, all items of one length L.
        generator: source of the places.

    Raises:
        InputError: for items of different length.
    """
    kernel, lengths = masking("an order-agnostic model", process), item_count(x0)
    length = int(lengths[0])
    if bool((lengths != length).any()):
        raise InputError("costs are of items of one length, but these differ")
    out = []
    for known in range(length):
        hide = torch.full((len(lengths),), length - known, device=leaf(x0).device)
        x = _masked(process, x0, hide, generator)
        q = denoiser(x, _clock(kernel, torch.tensor(1 - known / length, dtype=torch.float64)))
        out.append(q.nll(x0).double().mean() / (length - known))
    return torch.stack(out)


def spent(cost: Tensor | Sequence[float], groups: Sequence[int]) -> float:
    """Expected nats of an item generated in groups: sum of size times the cost where it begins."""
    values = torch.as_tensor(cost, dtype=torch.float64)
    starts = torch.tensor([0, *groups]).cumsum(0)
    if int(starts[-1]) != len(values) or min(groups) < 1:
        raise InputError(f"groups of {sum(groups)} tokens do not fit costs of {len(values)}")
    return float((torch.tensor(groups, dtype=torch.float64) * values[starts[:-1]]).sum())


def budget(cost: Tensor | Sequence[float], calls: int) -> list[int]:
    """The sizes of the groups, `calls` of them, for which `spent` is least.

    C[k, t] = min over s < t of C[k - 1, s] + (t - s) l_s (Hoogeboom et al. 2021, section 4, after
    Watson et al. 2021, arXiv:2106.03802). Costs are made non-increasing first, by the isotonic
    regression, since a token costs no more when more is known; then the best s rises with t, and a
    layer takes O(L log L) by divide and conquer.

    Args:
        cost: (L,) as from `costs`.
        calls: from 1 to L.
    """
    values = np.asarray(torch.as_tensor(cost, dtype=torch.float64).tolist())
    length = len(values)
    if not 1 <= calls <= length:
        raise InputError(f"{length} tokens take from 1 to {length} calls, not {calls}")
    slope = _falling(values)
    best = np.concatenate([[0.0], np.full(length, np.inf)])
    choice = []
    for k in range(1, calls + 1):
        best, came = _layer(best, slope, k)
        choice.append(came)
    ends, t = [length], length
    for came in reversed(choice):
        t = int(came[t])
        ends.append(t)
    return np.diff(ends[::-1]).tolist()


def _falling(values: np.ndarray) -> np.ndarray:
    """The non-increasing sequence nearest in squares: pools of violators, averaged."""
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2] = (means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size
            sizes[-2] = size
            del means[-1], sizes[-1]
    return np.repeat(means, sizes)


def _layer(before: np.ndarray, slope: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """C[k, .] and where each of its entries came from, from C[k - 1, .].

    All midpoints of one depth of the recursion are searched at once, between the choices of their
    neighbours.
    """
    length = len(slope)
    best, came = np.full(length + 1, np.inf), np.zeros(length + 1, dtype=np.int64)
    low, high = np.array([k]), np.array([length])  # ends t of a range, both included
    first, last = np.array([k - 1]), np.array([length - 1])  # where its choices lie
    while len(low):
        middle = (low + high) // 2
        stop = np.minimum(last, middle - 1)
        size = stop - first + 1
        start = np.cumsum(size) - size
        s = np.arange(size.sum()) - np.repeat(start - first, size)
        t = np.repeat(middle, size)
        value = before[s] + (t - s) * slope[s]
        least = np.minimum.reduceat(value, start)
        hit = np.where(value == np.repeat(least, size), s, length)
        chosen = np.minimum.reduceat(hit, start)
        best[middle], came[middle] = least, chosen
        left, right = low < middle, middle < high
        low, high, first, last = (
            np.concatenate([low[left], middle[right] + 1]),
            np.concatenate([middle[left] - 1, high[right]]),
            np.concatenate([first[left], chosen[right]]),
            np.concatenate([chosen[left], last[right]]),
        )
    return best, came


def budget_grid(process: Discrete, groups: Sequence[int]) -> Tensor:
    """The grid of times on which `Ordered(RandomOrder())` shows these groups, one a step."""
    kernel = masking("an order-agnostic model", process)
    shown = torch.tensor([0, *groups], dtype=torch.float64).cumsum(0)
    grid = kernel.keep.inverse(shown / shown[-1])
    grid[0], grid[-1] = 1.0, 0.0
    return grid
