"""Gauge freedom of the score field (Horvat & Pfister 2024, arXiv:2402.03845).

A field v = grad log p_t + r transports the densities p_t exactly if and only if at every t

    div r + r . grad log p_t = 0,    that is, div(p_t r) = 0

(theorem 2): samples and likelihoods are then exact although v is no gradient. For any constant
skew J and any h(x, t) the field r = J grad h + h J grad log p_t is of this kind, since p r =
J grad(p h).
Under p_t such r are orthogonal to all gradients, so that the least-squares fit of a gradient to v,
weighted with p_t, is the score again: `Potential` and `fit_potential`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import Can, Denoiser, Dirac, InputError, Process, Unsupported, expand
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import item_sum

from .traces import Exact, Trace, divergence

__all__ = [
    "Field", "Gauged", "Potential", "fit_potential", "gauge_residual", "noise_level", "score_field",
    "skew_field",
]  # fmt: skip

Field = Callable[[Tensor, Tensor], Tensor]
"""A vector field on tensors: (x, t) to a tensor like x, each item from itself alone."""


def score_field(process: Process, denoiser: Denoise) -> Field:
    """The field (x, t) to grad log p_t(x) that a denoiser stands for.

    Raises:
        Unsupported: if the process cannot tell the score from a posterior.
    """
    if Can.SCORE not in process.can:
        raise Unsupported(f"a score field needs SCORE; {process} can {process.can.names()}")

    def score(x: Tensor, t: Tensor) -> Tensor:
        found: Tensor = process.score(denoiser(x, t), x, t)
        return found

    return score


def noise_level(process: Process) -> Any:
    """The process, which has to have noise levels and a score; else `Unsupported`."""
    if missing := (Can.AFFINE | Can.GAUSSIAN | Can.SCORE) & ~process.can:
        raise Unsupported(f"this needs {missing.names()}; {process} can {process.can.names()}")
    return process


def gauge_residual(
    r: Field,
    score: Field,
    x: Tensor,
    t: Tensor,
    trace: Trace | None = None,
    generator: Source | None = None,
) -> Tensor:
    """(B,) div r + r . grad log p_t, float64: zero everywhere if r is a pure change of gauge.

    In expectation over p_t it is zero for every r that falls off, so look at its size point by
    point, beside that of div r.

    Args:
        r: what is added to the score.
        score: grad log p_t.
        x: (B, ...) where.
        t: () or (B,).
        trace: of the divergence; `Exact()` unless told.
        generator: of its probes.
    """
    value, spread = divergence(lambda there: r(there, t), x, trace or Exact(), generator)
    with torch.no_grad():
        inner = item_sum(value.double() * score(x, t).double())
    return spread.mean(1) + inner


def skew_field(skew: Tensor, h: Callable[[Tensor, Tensor], Tensor], score: Field) -> Field:
    """The field r = J grad h + h J grad log p_t: a change of gauge.

    Args:
        skew: (D, D) with J^T = -J, D the numbers of an item.
        h: maps (x, t) to (B,), each item from itself alone; autograd has to know it.
        score: grad log p_t.

    Raises:
        InputError: if J is not skew.
    """
    if skew.ndim != 2 or skew.shape[0] != skew.shape[1] or not torch.equal(skew, -skew.T):
        raise InputError("a gauge field needs a square skew matrix J, J^T = -J")

    def r(x: Tensor, t: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            there = x if x.requires_grad else x.detach().clone().requires_grad_()
            height = h(there, t)
            (slope,) = torch.autograd.grad(height.sum(), there, create_graph=x.requires_grad)
            height = height if x.requires_grad else height.detach()
        turned: Tensor = (slope + expand(x, height) * score(x, t)).flatten(1) @ skew.T.to(x)
        return turned.reshape(x.shape)

    return r


class Gauged(Denoiser):
    """A denoiser whose score has a field added: D' = D + sigma^2/alpha r.

    Args:
        denoiser: a `Denoiser`, or a function of (x, t).
        process: needs AFFINE, GAUSSIAN, SCORE; alpha must not be 0 where it is used.
        r: the field.
    """

    def __init__(self, denoiser: Denoise, process: Process, r: Field) -> None:
        super().__init__()
        self.denoiser, self.process, self.r = denoiser, noise_level(process), r

    def forward(self, x: Tensor, t: Any) -> Dirac:
        """The moved posterior mean."""
        process: Any = self.process
        gain = process.sigma(t).square() / process.alpha(t)
        return Dirac(self.denoiser(x, t).mean + expand(x, gain) * self.r(x, t))


class Potential(nn.Module):
    """The gradient of a scalar network: a conservative field (x, t) to grad phi.

    Args:
        net: maps (x, clock) to (B,) or (B, 1), each item from itself alone; smooth, since its
            gradient is what is used.
        process: where the clock comes from.
    """

    def __init__(self, net: nn.Module, process: Process) -> None:
        super().__init__()
        self.net, self.process = net, process

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The gradient of phi at (x, t), with a graph while gradients are recorded."""
        record = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            there = x if x.requires_grad else x.detach().clone().requires_grad_()
            clock = self.process.clock(t).to(there).expand(len(x))
            height = self.net(there, clock).sum()
            (slope,) = torch.autograd.grad(height, there, create_graph=record)
        return slope


def fit_potential(
    potential: Potential,
    field: Field,
    draw: Callable[[Generator], tuple[Tensor, Tensor]],
    steps: int,
    generator: Generator,
    lr: float = 1e-3,
) -> float:
    """Project a field onto gradients: min E_{p_t} sigma_t^2 |grad phi - v|^2, by Adam.

    The weight p_t is that of the draws, and the minimum over all phi is the conservative part of v
    in the decomposition of Horvat & Pfister 2024. The rate falls to 0 along a cosine.

    Args:
        potential: trained in place.
        field: v.
        draw: gives x ~ p_t (B, ...) and the t (B,) that they are of.
        steps: of the optimiser.
        generator: of the draws.
        lr: first learning rate.

    Returns:
        The loss over the last tenth of the steps: of an exact fit, what r weighs.
    """
    process: Any = noise_level(potential.process)
    if steps < 1:
        raise InputError(f"a potential is fitted in at least 1 step, not {steps}")
    adam = torch.optim.Adam(potential.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    kept: list[Tensor] = []
    for _ in range(steps):
        x, t = draw(generator)
        with torch.no_grad():
            target = field(x, t)
        gap = (potential(x, t) - target) * expand(x, process.sigma(t))
        loss = gap.square().flatten(1).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        kept.append(loss.detach())
    return float(torch.stack(kept[-max(1, steps // 10) :]).mean())
