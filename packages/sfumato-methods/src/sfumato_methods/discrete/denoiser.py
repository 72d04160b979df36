"""Networks over tokens as denoisers, and wrappers that sharpen what they say."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Categorical, Denoiser, InputError, Posterior, Unsupported
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time, apply, items, leaf

from .process import Discrete
from .tokens import Edit, Tokens

__all__ = ["LogisticDenoiser", "Nucleus", "Temperature", "TokenDenoiser", "logistic_logits"]


class TokenDenoiser(NetworkDenoiser):
    """A network that maps ids to logits (..., K) over clean classes, as a denoiser.

    For kernels with a mask the posterior is of the SUBS form, see `Tokens`: the mask has
    probability 0; and where the kernel does nothing but mask, what is not masked is carried over.

    A network with a memory of keys and values has a method `recall(x, clock, span, **context)` that
    returns a function of (x[:, span], clock): the logits at the places of the span, the rest of x
    held as it is. `Blocks` uses it.
    """

    process: Discrete

    def forward(self, x: Any, t: Time) -> Categorical:
        kernel = self.process.kernel
        if kernel.mask is None:
            return Categorical(logits=self.output(x, t))
        seen = x if kernel.absorbs is not None else None
        recall = self._recall if hasattr(self.net, "recall") else None
        return Tokens(self.output(x, t), kernel.mask, seen, recall=recall)

    def _recall(self, x: Any, t: Tensor, span: slice) -> Callable[[Any, Tensor], Tokens]:
        kernel, net = self.process.kernel, self.net
        device = leaf(x).device

        def clock(t: Tensor, count: int) -> Tensor:
            value = self.process.clock(t).to(device, torch.float32)
            return value.expand(count) if value.ndim == 0 else value

        def autocast() -> torch.autocast:
            return torch.autocast(device.type, self.autocast, enabled=self.autocast is not None)

        recall: Any = net.recall
        with autocast():
            memory = recall(x, clock(t, items(x)), span, **self._context)

        def inside(part: Any, t: Tensor) -> Tokens:
            with autocast():
                logits = memory(part, clock(t, items(part)))
            return Tokens(logits, kernel.mask, part if kernel.absorbs is not None else None)

        return inside


class _Edited(Denoiser):
    """A denoiser whose categorical posteriors are edited in float64, row by row."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def given(self, **condition: Any) -> Self:
        return self.around(self.denoiser.given(**condition))

    def around(self, denoiser: Denoiser) -> Self:
        """The same edit of another denoiser."""
        raise NotImplementedError

    def edit(self, rows: Tensor) -> Tensor:
        """Maps (..., K) log probabilities to unnormalised ones."""
        raise NotImplementedError

    def forward(self, x: Any, t: Time) -> Posterior:
        q = self.denoiser(x, t)
        if not isinstance(q, Categorical):
            raise Unsupported(
                f"{type(self).__name__} sharpens a Categorical posterior, not {type(q).__name__}"
            )
        tokens = q if isinstance(q, Tokens) else Tokens(q.logits)
        edited = tokens.edited(self.edit)
        if edited.recall is not None:
            edited.recall = functools.partial(_recalled, edited.recall, self.edit)
        return edited


def _recalled(recall: Any, edit: Edit, x: Any, t: Tensor, span: slice) -> Callable[..., Tokens]:
    inside = recall(x, t, span)
    return lambda part, t: inside(part, t).edited(edit)


class Temperature(_Edited):
    """The posterior to the power 1/temperature, normalised.

    Args:
        denoiser: returns `Categorical` posteriors.
        temperature: positive; below 1 the likely becomes likelier. Small values are near to taking
            the likeliest token.

    Raises:
        InputError: for a temperature that is not positive.
    """

    def __init__(self, denoiser: Denoiser, temperature: float) -> None:
        super().__init__(denoiser)
        if not temperature > 0:
            raise InputError(f"a temperature is positive, but was {temperature}")
        self.temperature = temperature

    def around(self, denoiser: Denoiser) -> Self:
        return type(self)(denoiser, self.temperature)

    def edit(self, rows: Tensor) -> Tensor:
        return rows / self.temperature


class Nucleus(_Edited):
    """Only the likeliest tokens: the fewest whose probabilities reach `mass` together.

    Holtzman et al. 2019, arXiv:1904.09751, section 3.1 ("top-p").

    Args:
        denoiser: returns `Categorical` posteriors.
        mass: in (0, 1]; 1 keeps all.

    Raises:
        InputError: for a mass outside (0, 1].
    """

    def __init__(self, denoiser: Denoiser, mass: float) -> None:
        super().__init__(denoiser)
        if not 0 < mass <= 1:
            raise InputError(f"mass is a probability in (0, 1], but was {mass}")
        self.mass = mass

    def around(self, denoiser: Denoiser) -> Self:
        return type(self)(denoiser, self.mass)

    def edit(self, rows: Tensor) -> Tensor:
        top, place = torch.sort(rows, dim=-1, descending=True, stable=True)
        before = top.exp().cumsum(-1).roll(1, -1)
        before[..., 0] = 0.0
        cut = torch.empty_like(before, dtype=torch.bool).scatter_(-1, place, before >= self.mass)
        return rows.masked_fill(cut, -torch.inf)


def logistic_logits(mean: Tensor, log_scale: Tensor, classes: int) -> Tensor:
    """Log probabilities (..., K) of a logistic law cut into K bins on [-1, 1], up to a constant.

    log(F(c + w/2) - F(c - w/2)) with bin centres c at distances w = 2/(K - 1), and F the logistic
    distribution of that mean and scale (Austin et al. 2021, arXiv:2107.03006, appendix A.8).

    Args:
        mean: (...) location.
        log_scale: (...) logarithm of the scale.
        classes: K, at least 2.
    """
    centre = torch.linspace(-1, 1, classes, dtype=mean.dtype, device=mean.device)
    sharp = (-log_scale).exp()[..., None]
    low = (centre - mean[..., None] - 1 / (classes - 1)) * sharp
    width = 2 / (classes - 1) * sharp
    # F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)): no difference of nearly equal numbers
    return F.logsigmoid(low + width) + F.logsigmoid(-low) + torch.log(-torch.expm1(-width))


class LogisticDenoiser(NetworkDenoiser):
    """A network over ordered values that says a location and a scale, as a denoiser.

    It maps ids to (..., 2): what is added to the value seen (scaled to [-1, 1]) before a tanh, and
    the log of the scale of `logistic_logits` (Austin et al. 2021, arXiv:2107.03006, appendix A.8).
    """

    process: Discrete

    def forward(self, x: Any, t: Time) -> Categorical:
        classes = self.process.kernel.classes

        def logits(out: Tensor, ids: Tensor) -> Tensor:
            seen = 2 * ids.to(out.dtype) / (classes - 1) - 1
            return logistic_logits((seen + out[..., 0]).tanh(), out[..., 1], classes)

        return Categorical(logits=apply(self.output(x, t), logits, x))
