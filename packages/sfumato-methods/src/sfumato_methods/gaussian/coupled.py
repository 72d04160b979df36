"""Normal laws over several states at once that share noise: position and velocity, for instance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato import Fields, Normal, Posterior, Unsupported, kl, random
from sfumato.laws import Space, filled
from sfumato.state import apply, axpy, item_count, item_sum

__all__ = ["Coupled"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Coupled(Posterior):
    """u_i = mean_i + sum_{j <= i} factor_ij n_j + common_i n, with n_j and n standard normal.

    All n have the shape of one field, so that the K fields are correlated element by element. The
    first field is the data; `nll` also takes a state of data alone, whose density it then gives,
    the other fields integrated out.

    Args:
        mean: fields of equal layout.
        factor: K rows of the lower triangle: floats, or tensors that broadcast with a field.
        common: K loadings of one more noise (states, or what broadcasts); None: there is none.
        space: subspace that the noise lives in.
    """

    __slots__ = ("_mean", "common", "factor", "space")

    def __init__(
        self,
        mean: Fields,
        factor: Sequence[Sequence[Any]],
        common: Sequence[Any] | None = None,
        space: Space | None = None,
    ) -> None:
        self._mean, self.factor, self.common, self.space = mean, factor, common, space

    @property
    def mean(self) -> Fields:
        return self._mean

    def sample(self, generator: random.Source) -> Fields:
        draw = random.normal if self.space is None else self.space.normal
        noise = [draw(part, generator) for part in self._mean.values()]
        found = {
            name: _added(part, row, noise)
            for (name, part), row in zip(self._mean.items(), self.factor, strict=True)
        }
        if self.common is not None:
            extra = draw(next(iter(self._mean.values())), generator)
            for name, load in zip(found, self.common, strict=True):
                found[name] = found[name] + extra * load
        return Fields(found)

    def nll(self, x: Any) -> Tensor:
        if not isinstance(x, Fields):
            return self._first().nll(x)
        gaps = [x[name] - part for name, part in self._mean.items()]
        z = _solved(self.factor, gaps)
        square, log = _squares(z), _log_diagonal(self.factor)
        if self.common is not None:
            square, log = self._corrected(z, square, log)
        each = square * 0.5 + filled(gaps[0], log)
        if self.space is None:
            total: Tensor = item_sum(each) + item_count(gaps[0]) * (len(gaps) * _HALF_LOG_2PI)
            return total
        count, dims = item_count(gaps[0]).clamp_min(1), self.space.dims(gaps[0])
        log_each = item_sum(filled(gaps[0], log)) / count + len(gaps) * _HALF_LOG_2PI
        spaced: Tensor = item_sum(square) * 0.5 + dims * log_each
        return spaced

    def _first(self) -> Normal:
        """The law of the first field."""
        first, std = next(iter(self._mean.values())), self.factor[0][0]
        if self.common is not None:
            both = self.common[0] * self.common[0] + std * std
            std = apply(both, torch.sqrt) if not isinstance(both, float) else math.sqrt(both)
        return Normal(first, std, self.space)

    def _corrected(self, z: Sequence[Any], square: Any, log: Any) -> tuple[Any, Any]:
        """The quadratic form and the log determinant with the common noise (Sherman-Morrison)."""
        assert self.common is not None
        w = _solved(self.factor, self.common)
        load = _squares(w)
        along = _dot(w, z)
        return square - along * along / (load + 1.0), _log1p(load) * 0.5 + log


def _added(part: Any, row: Sequence[Any], noise: Sequence[Any]) -> Any:
    """The sum of part and row_j noise_j, zeros left out, made in place."""
    total, own = part, False
    for c, n in zip(row, noise, strict=False):
        if type(c) is float and c == 0.0:
            continue
        if own and type(c) is float and isinstance(total, Tensor):
            total.add_(n, alpha=c)
            continue
        total = axpy(c, n, total) if type(c) is float else total + n * c
        own = True
    return total


def _solved(factor: Sequence[Sequence[Any]], gaps: Sequence[Any]) -> list[Any]:
    """The solution z of factor z = gaps, by forward substitution."""
    z: list[Any] = []
    for i, gap in enumerate(gaps):
        for j in range(i):
            gap = gap - z[j] * factor[i][j]
        z.append(gap / factor[i][i])
    return z


def _dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    terms = [u * v for u, v in zip(a, b, strict=True)]
    return sum(terms[1:], start=terms[0])


def _squares(z: Sequence[Any]) -> Any:
    return _dot(z, z)


def _log(c: Any) -> Any:
    return math.log(c) if isinstance(c, float) else apply(c, torch.log)


def _log1p(c: Any) -> Any:
    return math.log1p(c) if isinstance(c, float) else apply(c, torch.log1p)


def _log_diagonal(factor: Sequence[Sequence[Any]]) -> Any:
    logs = [_log(row[i]) for i, row in enumerate(factor)]
    return sum(logs[1:], start=logs[0])


@kl.register
def _(p: Coupled, q: Any) -> Tensor:
    if not isinstance(q, Coupled) or p.space is not q.space or p.common is not None:
        raise Unsupported(
            f"KL({type(p).__name__} || {type(q).__name__}) has no closed form here; accepted are "
            "two Coupled laws of one space, the first of a known clean state"
        )
    gaps = [q.mean[name] - part for name, part in p.mean.items()]
    z = _solved(q.factor, gaps)
    columns = [
        _solved(q.factor, [row[j] if j <= i else 0.0 for i, row in enumerate(p.factor)])
        for j in range(len(gaps))
    ]
    square, spread = _squares(z), _dot([1.0] * len(gaps), [_squares(c) for c in columns])
    log: Any = _dot(
        [1.0] * len(gaps),
        [_log(a[i]) - _log(b[i]) for i, (a, b) in enumerate(zip(q.factor, p.factor, strict=True))],
    )
    if q.common is not None:
        w = _solved(q.factor, q.common)
        load = _squares(w) + 1.0
        along = _dot(w, z)
        seen = [_dot(w, c) for c in columns]
        square = square - along * along / load
        spread = filled(gaps[0], spread) - _squares(seen) / load
        log = _log(load) * 0.5 + log
    spread, log = filled(gaps[0], spread), filled(gaps[0], log)
    if p.space is None:
        total: Tensor = item_sum((square + spread) * 0.5 + log) - 0.5 * len(gaps) * item_count(
            gaps[0]
        )
        return total
    count, dims = item_count(gaps[0]).clamp_min(1), p.space.dims(gaps[0])
    each = item_sum(spread * 0.5 + log) / count - 0.5 * len(gaps)
    spaced: Tensor = item_sum(square) * 0.5 + dims * each
    return spaced
