"""Score entropy: networks that say ratios p_t(y)/p_t(x), as denoisers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, expand
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time, apply

from .process import Discrete, Ratios

__all__ = ["RatioDenoiser"]


class RatioDenoiser(NetworkDenoiser):
    """A network that maps ids to log(p_t(y)/p_t(x)), (..., K), as a denoiser.

    SEDD (Lou et al. 2023, arXiv:2310.16834). What the network says of the token that is seen counts
    as 0. For an absorbing kernel it is relative to log(a/(1 - a)) at masked places, a = keep(t), as
    in their section 5.2: the network then says log p(x_0 | x_t) up to a constant.

    The posterior is p(x_0 | x) = w(x_0) T(0->t)[x_0, x] with w T(0->t) = the ratios, normalised;
    what inexact ratios make negative counts as 0. `Ancestral` on it is their analytic sampler
    ("Tweedie tau-leaping", theorem 4.2). `Euler` and `TauLeaping` take the ratios as they are.

    Args:
        net: the network.
        process: its kernel needs `pull`: rank-one kernels and `MaskReplace`.
        autocast: dtype for the network's own arithmetic.
    """

    process: Discrete

    def forward(self, x: Any, t: Time) -> Ratios:
        if not isinstance(t, Tensor):
            raise InputError("RatioDenoiser takes one clock, but was given a mapping of times")
        kernel = self.process.kernel
        u = t.double().clamp(max=1 - 1e-6)  # at t = 1 ratios say nothing of x_0
        kept = kernel.kept(u)
        odds = expand(x, torch.logit(kept) if kernel.absorbs is not None else 0 * kept)

        def told(logits: Tensor, ids: Tensor, shift: Tensor) -> Tensor:
            logits = logits.double()
            if kernel.absorbs is not None:
                logits = logits + torch.where(ids == kernel.absorbs, shift, 0.0)[..., None]
            return logits.scatter(-1, ids[..., None], 0.0).exp()

        def posterior(weights: Tensor, seen: Tensor) -> Tensor:
            joint = (weights * seen).clamp_min(0)
            if kernel.mask is not None:
                joint = joint.index_fill(-1, torch.tensor(kernel.mask, device=joint.device), 0.0)
            total = joint.sum(-1, keepdim=True)
            even = torch.ones_like(joint) / joint.shape[-1]
            return torch.where(total > 0, joint / torch.where(total > 0, total, 1.0), even)

        ratios = apply(self.output(x, t), told, x, odds)
        zero = torch.zeros_like(u)
        weights = kernel.pull(ratios, zero, u)
        return Ratios(apply(weights, posterior, kernel.columns(x, zero, u)), ratios)
