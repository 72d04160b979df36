"""The variational bound, one function for every process that announces LIKELIHOOD."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .errors import InputError, Unsupported
from .laws import kl
from .process import Can, Process, check_time
from .random import Source
from .sampling import Denoise, times

__all__ = ["elbo"]


def elbo(process: Process, denoiser: Denoise, x0: Any, grid: Tensor, generator: Source) -> Tensor:
    """Upper bound on -log p(x_0): prior, one KL per step, reconstruction.

    L = KL(q(x_1|x_0) || p(x_1)) + sum_i E KL(q(x_s|x_0,x_t) || p(x_s|x_t)) + E[-log p(x_0|x_t)]

    with p(x_s|x_t) the transition law, down to s = 0, and a fresh x_t for each step (Sohl-Dickstein
    et al. 2015, arXiv:1503.03585, eq. 14). With the exact transition laws its mean over draws is
    the exact negative log-likelihood.

    Args:
        process: needs LIKELIHOOD.
        denoiser: its last posterior needs a density (not a `Dirac`, for continuous data).
        x0: clean state.
        grid: (N + 1,) descending from 1 to 0.
        generator: source of the draws.

    Returns:
        (B,) nats per item.
    """
    if Can.LIKELIHOOD not in process.can:
        raise Unsupported(f"elbo needs LIKELIHOOD; {process} can {process.can.names()}")
    check_time(grid)
    whole = grid.ndim == 1 and (float(grid[0]), float(grid[-1])) == (1, 0)
    if not whole or bool((grid.diff() >= 0).any()):
        raise InputError("the bound needs one shared grid that descends strictly from 1 to 0")
    clocks = times(grid.double())
    rows = process.plan(grid)
    total = kl(process.marginal(x0, clocks[0]), process.prior(x0)).double()
    for row, t, s in zip(rows, clocks, clocks[1:], strict=False):
        x = process.marginal(x0, t).sample(generator)
        q = denoiser(x, t)
        back = process.transition(q, x, t, s, row)  # at s = 0 it need not be q itself
        step = kl(process.bridge(x0, x, t, s, row), back) if s > 0 else back.nll(x0)
        total = total + step
    return total
