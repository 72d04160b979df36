"""Batches as wholes: picked from, joined, moved to a device, gathered from a data set."""

from __future__ import annotations

__all__ = ["concatenate", "gather", "move", "select"]

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError, Maybe, state

from .joining import join


def select(batch: Batch, index: Tensor) -> Batch:
    """The items at `index` (long, any order, repeats allowed), in that order.

    Of `about`, sequences with one entry per item are picked from and all else is kept.
    """
    count = state.items(batch.x)

    def fact(value: Any) -> Any:
        return [value[i] for i in index.tolist()] if _per_item(value, count) else value

    return Batch(
        state.select(batch.x, index),
        {k: _each(v, lambda u: state.select(u, index)) for k, v in batch.condition.items()},
        {k: fact(v) for k, v in batch.about.items()},
    )


def move(batch: Batch, device: torch.device | str) -> Batch:
    """The batch with its tensors on a device; `about` stays on the host."""

    def there(value: Any) -> Any:
        return state.to(value, device, non_blocking=True)

    return Batch(
        there(batch.x), {k: _each(v, there) for k, v in batch.condition.items()}, batch.about
    )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Batches with the same conditions as one, in order.

    A condition that is a `Maybe` in one of them is a `Maybe` in the result. Of `about`, sequences
    with one entry per item are joined, and what is equal in all batches is kept; what differs has
    no place in the whole and is left out.

    Raises:
        InputError: if there are none, or their conditions differ in name.
    """
    if not batches:
        raise InputError("there are no batches to concatenate")
    names = list(batches[0].condition)
    for batch in batches:
        if set(batch.condition) != set(names):
            raise InputError(
                f"the batches differ in their conditions: {sorted(names)} and "
                f"{sorted(batch.condition)}"
            )
    return Batch(
        join([batch.x for batch in batches]),
        {name: _joined([batch.condition[name] for batch in batches]) for name in names},
        _common(batches),
    )


def gather(dataset: Dataset, index: Sequence[int] | None = None, chunk: int = 1024) -> Batch:
    """Many items of a data set as one batch, read `chunk` items at a time.

    Args:
        dataset: where the items are.
        index: which ones, in that order; None: all.
        chunk: items that the data set reads at once.

    Raises:
        InputError: if no items are asked for, or `chunk` is not positive.
    """
    if chunk < 1:
        raise InputError(f"chunk must be at least 1, but is {chunk}")
    index = range(len(dataset)) if index is None else index
    return concatenate([dataset.batch(index[i : i + chunk]) for i in range(0, len(index), chunk)])


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A condition with its states changed."""
    if isinstance(value, Maybe):
        return Maybe(change(value.value), change(value.present))
    return change(value)


def _joined(values: Sequence[Any]) -> Any:
    if not any(isinstance(value, Maybe) for value in values):
        return join(values)
    maybes = [v if isinstance(v, Maybe) else Maybe(v, _all_present(v)) for v in values]
    return Maybe(join([m.value for m in maybes]), torch.cat([m.present for m in maybes]))


def _all_present(value: Any) -> Tensor:
    return torch.ones(state.items(value), dtype=torch.bool)


def _per_item(value: Any, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count


def _common(batches: Sequence[Batch]) -> Mapping[str, Any]:
    first, *rest = batches
    found: dict[str, Any] = {}
    for name, value in first.about.items():
        values = [batch.about.get(name) for batch in batches]
        counts = [state.items(batch.x) for batch in batches]
        if all(_per_item(v, n) for v, n in zip(values, counts, strict=True)):
            found[name] = [entry for v in values for entry in v or ()]
        elif all(name in batch.about and _equal(batch.about[name], value) for batch in rest):
            found[name] = value
    return found


def _equal(a: Any, b: Any) -> bool:
    """Equality of facts, of which some may be arrays (affine matrices)."""
    if hasattr(a, "__array__") or hasattr(b, "__array__"):
        return np.array_equal(a, b)
    return bool(a == b)
