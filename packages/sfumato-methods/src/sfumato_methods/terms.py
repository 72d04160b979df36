"""Linear combinations of states that write over what was made for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato.state import axpy, scale

__all__ = ["mix", "plus"]

_ROUNDING = 1e-15


def plus(c: Any, x: Any, y: Any) -> Any:
    """`c * x + y` for a `y` made for this: it is written over where that is possible.

    A new tensor for each term would cost more than its arithmetic: its memory has to be mapped.
    """
    if isinstance(c, float):
        if c == 0:
            return y
        if isinstance(y, Tensor) and isinstance(x, Tensor) and _alike(x, y):
            return y.add_(x, alpha=c)
    elif isinstance(y, Tensor) and isinstance(x, Tensor) and _alike(x, y):
        return y.addcmul_(x, c.to(x).reshape(*c.shape, *(1,) * (x.ndim - c.ndim)))
    return axpy(c, x, y)


def mix(a: Any, x: Any, b: Any, y: Any) -> Any:
    """`a * x + b * y`; in one operation where a + b = 1, as in the steps of flow matching."""
    if isinstance(a, float) and abs(a + b - 1) < _ROUNDING:
        if isinstance(x, Tensor) and isinstance(y, Tensor) and _alike(x, y):
            return torch.lerp(y, x, a)
    return plus(b, y, scale(a, x))


def _alike(x: Tensor, y: Tensor) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape
