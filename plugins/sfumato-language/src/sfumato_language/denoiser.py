"""The denoiser of texts: a network over token ids with the conditions that sampling has."""

from __future__ import annotations

__all__ = ["ScoreTextDenoiser", "StrandDenoiser", "TextDenoiser", "masked"]

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sfumato import Categorical, Denoiser, InputError, Model
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time, apply
from sfumato_methods.discrete import (
    Constrained,
    Discrete,
    Nucleus,
    RatioDenoiser,
    Ratios,
    Temperature,
    TokenDenoiser,
    Tokens,
)
from sfumato_methods.simplex import Simplex, SimplexDenoiser

from .canvas import GUIDANCE, INSIDE, NUCLEUS, SHOWN, TEMPERATURE
from .guided import Guided
from .patterns import BEGIN, KIND, PATTERN, automaton_of


class _Asked(NetworkDenoiser):
    """A denoiser of texts with conditions that are not for the network.

    `inside` (B, L) bool: no end of a document there. `temperature` and `nucleus` (B,), the same for
    all: see `Temperature` and `Nucleus`. `pattern` and its like: see `patterns` and `Constrained`.
    `guidance` (B,), the same for all, and `shown` (B, L) bool: see `Guided`, which comes first.
    """

    eos: int
    aside: ClassVar[tuple[str, ...]] = (
        INSIDE, TEMPERATURE, NUCLEUS, PATTERN, KIND, BEGIN, GUIDANCE, SHOWN,
    )  # fmt: skip
    _inside: Tensor | None = None

    def given(self, **condition: Any) -> Any:
        inside = condition.pop(INSIDE, None)
        temperature, mass = condition.pop(TEMPERATURE, None), condition.pop(NUCLEUS, None)
        pattern = [condition.pop(name, None) for name in (PATTERN, KIND, BEGIN)]
        scale, shown = condition.pop(GUIDANCE, None), condition.pop(SHOWN, None)
        view: Any = super().given(**condition)
        view._inside = inside
        if scale is not None and shown is not None:
            view = self._guided(view, shown, float(scale[0]))
        if temperature is not None:
            view = Temperature(view, float(temperature[0]))
        if mass is not None:
            view = Nucleus(view, float(mass[0]))
        table, kind, begin = pattern
        return view if table is None else Constrained(view, automaton_of(table, kind), begin)

    def _guided(self, view: Denoiser, shown: Tensor, scale: float) -> Denoiser:
        raise InputError("guidance=... hides a prompt, which is for models that mask tokens")

    def output(self, x: Any, t: Time) -> Any:
        logits = super().output(x, t)
        return logits if self._inside is None else self._going_on(logits, self._inside)

    def _going_on(self, logits: Any, inside: Tensor) -> Any:
        """Logits by which no document ends inside."""

        def without(values: Tensor) -> Tensor:
            values = values.clone()
            values[..., self.eos].masked_fill_(inside, -torch.inf)
            return values

        return apply(logits, without)


class TextDenoiser(_Asked, TokenDenoiser):
    """A `TokenDenoiser` with conditions that are not for the network, see `_Asked`.

    Args:
        net: the network.
        process: the masking process.
        eos: id that ends a document; None: the one before the last, which is the mask.
    """

    def __init__(self, net: nn.Module, process: Discrete, *, eos: int | None = None) -> None:
        super().__init__(net, process)
        self.eos = process.kernel.classes - 2 if eos is None else eos

    def _guided(self, view: Denoiser, shown: Tensor, scale: float) -> Denoiser:
        mask = self.process.kernel.absorbs
        return (
            super()._guided(view, shown, scale)
            if mask is None
            else Guided(view, shown, mask, scale)
        )

    def _recall(self, x: Any, t: Tensor, span: slice) -> Callable[[Any, Tensor], Tokens]:
        recalled = super()._recall(x, t, span)
        if self._inside is None:
            return recalled
        inside = self._inside[:, span]

        def going_on(part: Any, t: Tensor) -> Tokens:
            q = recalled(part, t)
            return Tokens(self._going_on(q.raw, inside), q.mask, q.seen)

        return going_on


class ScoreTextDenoiser(_Asked, RatioDenoiser):
    """A `RatioDenoiser` with the conditions of `TextDenoiser`.

    Args:
        net: the network, see `RatioDenoiser`.
        process: the process.
        eos: id that ends a document.
    """

    def __init__(self, net: nn.Module, process: Discrete, eos: int) -> None:
        super().__init__(net, process)
        self.eos = eos

    def output(self, x: Any, t: Time) -> Any:
        # ratios of ends that may not be say much of other tokens: the posterior is edited instead
        return NetworkDenoiser.output(self, x, t)

    def forward(self, x: Any, t: Time) -> Ratios:
        q = super().forward(x, t)
        if self._inside is None or not isinstance(t, Tensor):
            return q
        ends = self._inside

        def without(probs: Tensor) -> Tensor:
            probs = probs + torch.finfo(probs.dtype).tiny  # where nothing else was left
            probs[..., self.eos].masked_fill_(ends, 0.0)
            return probs / probs.sum(-1, keepdim=True)

        law = Categorical(probs=apply(q.probs, without))
        return Ratios(law.probs, self.process.ratios(law, x, t.double().clamp(max=1 - 1e-6)))


class StrandDenoiser(_Asked, SimplexDenoiser):
    """A `SimplexDenoiser` with the conditions of `TextDenoiser`, but for patterns.

    Args:
        net: the network.
        process: of classes of which the last one ends a document.
    """

    def __init__(self, net: nn.Module, process: Simplex) -> None:
        super().__init__(net, process)
        self.eos = process.classes - 1

    def given(self, **condition: Any) -> Any:
        if PATTERN in condition:
            raise InputError("a pattern is for models that mask tokens; letters here are noised")
        return super().given(**condition)


def masked(model: Model) -> TextDenoiser:
    """The denoiser of a masked model of text.

    Raises:
        InputError: if the model is of another kind.
    """
    chain = model.process.kernel if isinstance(model.process, Discrete) else None
    if not isinstance(model.denoiser, TextDenoiser) or chain is None or chain.absorbs is None:
        raise InputError(
            "this takes masked models of text, which language/text trains, not a model with "
            f"{type(model.denoiser).__name__} over {model.process}"
        )
    return model.denoiser
