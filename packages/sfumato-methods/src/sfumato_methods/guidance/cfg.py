"""Classifier-free guidance over every kind of posterior."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from sfumato import Categorical, Denoiser, Dirac, Joint, Mixture, Normal, Posterior, Unsupported
from sfumato.laws import filled
from sfumato.state import Time, apply, item_sum

__all__ = ["CFG", "extrapolate"]


class CFG(Denoiser):
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598).

    scale 0 is the unconditional denoiser, 1 the conditional one, more than 1 goes beyond it.

    Args:
        conditional: `denoiser.given(**condition)`.
        unconditional: `denoiser.given()`.
        scale: how far to go from the unconditional towards the conditional posterior.
    """

    def __init__(self, conditional: Denoiser, unconditional: Denoiser, scale: float) -> None:
        super().__init__()
        self.conditional = conditional
        self.unconditional = unconditional
        self.scale = scale

    def forward(self, x: Any, t: Time) -> Posterior:
        c, u = self.conditional(x, t), self.unconditional(x, t)
        posterior: Posterior = extrapolate(c, u, self.scale)
        return posterior


@singledispatch
def extrapolate(c: Any, u: Any, scale: float) -> Any:
    """The posterior proportional to u^(1 - scale) c^scale, in closed form.

    Means of point estimates are extrapolated; normals are combined by precision; categorical laws
    in log space; joint laws part by part; a mixture by its mean.

    Raises:
        Unsupported: if the kinds differ, or no closed form is known.
    """
    raise Unsupported(
        f"guidance between {type(c).__name__} and {type(u).__name__} has no closed form; accepted "
        "are two Dirac, two Normal, two Categorical, two Mixture or two Joint posteriors"
    )


def _same(c: Posterior, u: Any) -> None:
    if type(c) is not type(u):
        extrapolate.dispatch(object)(c, u, 0.0)


@extrapolate.register
def _(c: Dirac, u: Any, scale: float) -> Dirac:
    _same(c, u)
    return Dirac(u.mean + (c.mean - u.mean) * scale)


@extrapolate.register
def _(c: Mixture, u: Any, scale: float) -> Dirac:
    _same(c, u)
    return Dirac(u.mean + (c.mean - u.mean) * scale)


@extrapolate.register
def _(c: Normal, u: Any, scale: float) -> Normal:
    _same(c, u)
    narrow, broad = filled(c.mean, c.std), filled(u.mean, u.std)
    ones = apply(c.mean, torch.ones_like)
    sharp, wide = ones / (narrow * narrow) * scale, ones / (broad * broad) * (1 - scale)
    precision = sharp + wide
    if not bool((item_sum(apply(precision, lambda v: (v <= 0).double())) == 0).all()):
        raise Unsupported(
            f"guidance of scale {scale} between these Normal posteriors is no Normal: the "
            "conditional one is too much wider than the unconditional one; use a smaller scale"
        )
    mean = (c.mean * sharp + u.mean * wide) / precision
    return Normal(mean, apply(precision, torch.rsqrt), c.space)


@extrapolate.register
def _(c: Categorical, u: Any, scale: float) -> Categorical:
    _same(c, u)

    def mix(a: Tensor, b: Tensor) -> Tensor:
        # a class that either law excludes stays excluded: -inf must not meet inf or 0 * inf
        possible = a.isfinite() & b.isfinite()
        a, b = torch.where(possible, a, 0.0), torch.where(possible, b, 0.0)
        return torch.where(possible, b + (a - b) * scale, -torch.inf)

    return Categorical(logits=apply(c.logits, mix, u.logits))


@extrapolate.register
def _(c: Joint, u: Any, scale: float) -> Joint:
    _same(c, u)
    return Joint({k: extrapolate(q, u[k], scale) for k, q in c.parts.items()})
