"""An interpolated n-gram model of token ids: a judge of samples that is fitted in seconds.

Witten & Bell, IEEE Transactions on Information Theory 37, 1991, in the recursive form of Chen &
Goodman, 1998: with c(h) the count of a context and T(h) the number of different tokens behind it,

    p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

h' being h without its first token; where h never came, p(w | h'). The end of the recursion is
(c(w) + 1) / (c + K).
"""

from __future__ import annotations

__all__ = ["NGram", "grams"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato import InputError

Hashes = NDArray[np.uint64]


def grams(ids: NDArray[Any], real: NDArray[np.bool_], order: int) -> list[tuple[Hashes, Any]]:
    """For k = 0..order the hash of the last k tokens at each place, and where they exist.

    Args:
        ids: (B, L) ids of at least 0.
        real: (B, L) bool; what is not real ends a context.
        order: the largest k.

    Returns:
        order + 1 pairs of (B, L) hashes of 64 bits and (B, L) bool.
    """
    token = (ids + 1).astype(np.uint64)
    found: list[tuple[Hashes, Any]] = [(np.zeros(ids.shape, np.uint64), real)]
    for _ in range(order):
        before, there = found[-1]
        hashed = _mixed(_shifted(before) * np.uint64(0x9E3779B97F4A7C15) + token)
        found.append((hashed, real & (_shifted(there) if len(found) > 1 else real)))
    return found


def _shifted(values: NDArray[Any]) -> NDArray[Any]:
    """The value one place before; 0 at the first."""
    out = np.zeros_like(values)
    out[:, 1:] = values[:, :-1]
    return out


def _mixed(h: Hashes) -> Hashes:
    h = (h ^ (h >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(h ^ (h >> np.uint64(29)), dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class NGram:
    """A fitted model.

    Attributes:
        classes: number of ids K.
        levels: for k = 1..n the sorted hashes of k-grams with their counts, and those of their
            contexts with c(h) and T(h).
    """

    classes: int
    levels: tuple[tuple[Hashes, NDArray[Any], Hashes, NDArray[Any], NDArray[Any]], ...]

    @classmethod
    def fit(
        cls, windows: Iterable[tuple[NDArray[Any], NDArray[Any]]], classes: int, order: int
    ) -> NGram:
        """Count the n-grams of windows (ids, real) as `grams` takes them.

        Raises:
            InputError: if there is no token.
        """
        whole: list[list[Hashes]] = [[] for _ in range(order)]
        heads: list[list[Hashes]] = [[] for _ in range(order)]
        for ids, real in windows:
            found = grams(ids, real, order)
            for k in range(order):
                hashed, there = found[k + 1]
                whole[k].append(hashed[there])
                heads[k].append(_shifted(found[k][0])[there] if k else np.zeros_like(hashed[there]))
        if not any(len(part) for part in whole[0]):
            raise InputError("there is no text to fit an n-gram model to")
        return cls(
            classes,
            tuple(_counted(*map(np.concatenate, w)) for w in zip(whole, heads, strict=True)),
        )

    def nats(self, ids: NDArray[Any], real: NDArray[np.bool_]) -> NDArray[np.float64]:
        """-log p of each token given those before it in its text, (B, L); 0 where nothing is."""
        found = grams(ids, real, len(self.levels))
        p = np.full(ids.shape, 1 / self.classes)
        for k, (keys, counts, contexts, total, kinds) in enumerate(self.levels):
            hashed, there = found[k + 1]
            head = _shifted(found[k][0]) if k else np.zeros_like(hashed)
            seen = _looked_up(hashed, keys, counts)
            c, t = _looked_up(head, contexts, total), _looked_up(head, contexts, kinds)
            t = t if k else np.full_like(t, self.classes)  # one more of each id
            known = there & (c > 0)
            p = np.where(known, (seen + t * p) / np.where(known, c + t, 1), p)
        return np.where(real, -np.log(p), 0.0)


def _counted(
    whole: Hashes, heads: Hashes
) -> tuple[Hashes, NDArray[Any], Hashes, NDArray[Any], NDArray[Any]]:
    keys, first, counts = np.unique(whole, return_index=True, return_counts=True)
    contexts, place = np.unique(heads[first], return_inverse=True)
    total = np.bincount(place, counts, len(contexts))
    return keys, counts.astype(float), contexts, total, np.bincount(place).astype(float)


def _looked_up(wanted: Hashes, keys: Hashes, values: NDArray[Any]) -> NDArray[np.float64]:
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0.0)
