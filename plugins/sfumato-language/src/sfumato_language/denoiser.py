"""The denoiser of texts: a network over token ids that knows where a document may not end."""

from __future__ import annotations

__all__ = ["TextDenoiser"]

from typing import Any, Self

from torch import Tensor

from sfumato.state import Time, apply
from sfumato_methods.discrete import TokenDenoiser

from .canvas import INSIDE


class TextDenoiser(TokenDenoiser):
    """A `TokenDenoiser` with the condition `inside` (B, L) bool: no end of a document there."""

    _inside: Tensor | None = None

    def given(self, **condition: Any) -> Self:
        inside = condition.pop(INSIDE, None)
        view = super().given(**condition)
        view._inside = inside
        return view

    def output(self, x: Any, t: Time) -> Any:
        logits = super().output(x, t)
        if self._inside is None:
            return logits
        inside, eos = self._inside, self.process.kernel.classes - 2

        def without(values: Tensor) -> Tensor:
            values = values.clone()
            values[..., eos].masked_fill_(inside, -float("inf"))
            return values

        return apply(logits, without)
