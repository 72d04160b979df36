r"""The reverse diffusion on the simplex, with time dilation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, InputError, Process, Unsupported, expand, random
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import apply, leaf, to, where

from ..parts import EachPart
from .process import Simplex

__all__ = ["Dilated"]


@dataclass(frozen=True)
class Dilated(EachPart):
    r"""Euler's steps of the reverse SDE, `dilation` times as far as the clock goes.

    Backwards in tau the process is dx = (1/K)(1 - K x) dtau + D score dtau + D^(1/2) dW with
    D = (2/K)(diag(x) - x x^T). Time dilation (Avdeyev et al. 2023, arXiv:2305.10699)
    multiplies drift and variance of each step by c: samples of a trained network become sharper. At
    c = 1 the law is that of the model, with an error of first order in the step.

    A flat Dirichlet law is that of the squared moduli of a uniform point of the sphere in C^K, and
    this diffusion is Brownian motion there: x_i = |z_i|^2, dz_i = z_i b_i dtau + noise of variance
    1/(2 K) in each part, b = (score - x . score)/K. There are no boundaries on the sphere, so that
    nothing is clipped; b e^-tau is held through a step from t to s, which so takes (t - s)/(1 - t)
    of the time, finite at t = 1 where b is 0, and the linear equation is solved exactly.

    The step to t = 0 draws from the posterior, a vertex.

    Args:
        dilation: c, at least 1; published are 1, 4 and 8.

    Raises:
        InputError: for a dilation below 1.
    """

    dilation: float = 4.0

    needs: ClassVar[Can] = Can.SCORE

    def __post_init__(self) -> None:
        if not self.dilation >= 1:
            raise InputError(f"a dilation is at least 1, but was {self.dilation}")

    def plan(self, process: Process, grid: Any) -> Sequence[Any]:
        if not isinstance(process, Simplex):
            raise Unsupported(
                f"Dilated walks the process Simplex(K), and not {process}. Use Ancestral()"
            )
        u = grid.double().clamp(max=1 - 1e-9)
        return [(t, self.dilation * (t - s) / (1 - t)) for t, s in zip(u, u[1:], strict=False)]

    def advance(
        self, row: Any, process: Any, past: Sequence[Point], s: Any, generator: Source
    ) -> Any:
        (t, stretch), (_, x, q) = row, past[-1]
        score, length = process.score(q, x, t), expand(x, stretch)
        blank = apply(x, lambda v: v.new_empty((*v.shape, 2)))
        noise = random.normal(blank, generator)
        x = apply(x, _step, score, length, noise)
        ends = s == 0
        if not bool(ends.any()):
            return x
        vertex = process.marginal(q.sample(generator), torch.zeros_like(s)).sample(generator)
        return where(expand(x, ends), to(vertex, leaf(x).dtype), x)


def _step(x: Tensor, score: Tensor, length: Tensor, noise: Tensor) -> Tensor:
    """One step on the sphere; all is divided by e^top, the growth of the class that grows most."""
    k = x.shape[-1]
    drift = (score - (x * score).sum(-1, keepdim=True)) * length / k
    top = drift.amax(-1, keepdim=True)
    twice = 2 * drift.abs()
    gain = torch.where(twice > 1e-9, -torch.expm1(-twice) / twice.clamp_min(1e-9), 1.0)
    variance = length / (2 * k) * gain * (2 * drift.clamp_min(0) - 2 * top).exp()
    keep, std = x.sqrt() * (drift - top).exp(), variance.sqrt()
    moved = (keep + std * noise[..., 0]).square() + (std * noise[..., 1]).square()
    return moved / moved.sum(-1, keepdim=True).clamp_min(1e-300)
