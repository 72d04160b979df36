"""Per-item losses of discrete processes: functions (process, denoiser, x0, t, generator) -> (B,).

Each is unbiased for a bound or a sum over steps when t is uniform on (0, 1), however stratified.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, kl, random
from sfumato.sampling import Denoise
from sfumato.state import apply, item_sum

from .process import Discrete

__all__ = ["hybrid", "score_entropy", "step_bound"]


def step_bound(
    process: Discrete,
    denoiser: Denoise,
    x0: Any,
    t: Tensor,
    generator: random.Source,
    *,
    steps: int,
) -> Tensor:
    """T KL(q(x_s | x_0, x_t) || p(x_s | x_t)) for the step of an even grid that holds t.

    Its mean over t, with the term -log p(x_0 | x_t) where s = 0, is L_vb of Austin et al. 2021
    (arXiv:2107.03006, eq. 1) without the constant prior term, as `sfumato.elbo` on that grid.

    Args:
        process: the process, in either reverse form.
        denoiser: returns a `Categorical`.
        x0: clean ids.
        t: (B,) in [0, 1).
        generator: source of the noise.
        steps: T.

    Returns:
        (B,) nats.
    """
    return _step_bound(process, denoiser, x0, t, generator, steps)[0]


def _step_bound(
    process: Discrete, denoiser: Denoise, x0: Any, t: Tensor, generator: random.Source, steps: int
) -> tuple[Tensor, Any]:
    if steps < 1:
        raise InputError(f"a chain has at least one step, not {steps}")
    count = (t.double() * steps).floor().clamp(0, steps - 1)
    t, s = (count + 1) / steps, count / steps
    x = process.marginal(x0, t).sample(generator)
    q = denoiser(x, t)
    back = process.transition(q, x, t, s)
    divergence = kl(process.bridge(x0, x, t, s), back)  # at s = 0 the bridge is x_0 itself
    return steps * divergence, q


def hybrid(
    process: Discrete,
    denoiser: Denoise,
    x0: Any,
    t: Tensor,
    generator: random.Source,
    *,
    steps: int,
    weight: float = 1e-3,
) -> Tensor:
    """`step_bound` + T weight (-log p(x_0 | x_t)) (Austin et al. 2021, arXiv:2107.03006, eq. 5).

    The weight is of one step, as in their code, where the bound is not multiplied by T.

    Args:
        process: the process, in either reverse form.
        denoiser: returns a `Categorical`.
        x0: clean ids.
        t: (B,) in [0, 1).
        generator: source of the noise.
        steps: T.
        weight: lambda; 1e-3 for pictures as published, 0.01 for text.

    Returns:
        (B,) nats.
    """
    bound, q = _step_bound(process, denoiser, x0, t, generator, steps)
    loss: Tensor = bound + steps * weight * q.nll(x0)
    return loss


def score_entropy(
    process: Discrete, denoiser: Denoise, x0: Any, t: Tensor, generator: random.Source
) -> Tensor:
    """The bound on -log p(x_0) in continuous time, at time t; any kernel with rates.

    sum over y != x of R_t(y -> x) [r_y - c_y + c_y log(c_y/r_y)] with x ~ q(x_t | x_0),
    c_y = q(y | x_0)/q(x | x_0), r the ratios of the denoiser: the diffusion-weighted denoising
    score entropy (Lou et al. 2023, arXiv:2310.16834, eq. 8). No term is negative.

    With uniform t its mean is the bound on the nats, whatever the denoiser returns: `Ratios`
    (SEDD), or a posterior: then it is the masked bound (Sahoo et al. 2024, arXiv:2406.07524) for
    absorbing kernels, and that of uniform-state models in the form of Sahoo et al. 2025
    (arXiv:2506.10892) for `JointDiscrete(uniform(K))`.

    Args:
        process: its kernel is a chain in continuous time.
        denoiser: returns a `Categorical`.
        x0: clean ids.
        t: (B,) or () in (0, 1).
        generator: source of the noise.

    Returns:
        (B,) nats.
    """
    x = process.marginal(x0, t).sample(generator)
    said = process.ratios(denoiser(x, t), x, t)
    return score_entropy_at(process, said, x0, x, t)


def score_entropy_at(process: Discrete, said: Any, x0: Any, x: Any, t: Tensor) -> Tensor:
    """`score_entropy` of given ratios at a given noisy state."""
    law = process.marginal(x0, t).probs
    true = apply(law, lambda p, i: p / p.gather(-1, i[..., None]), x)
    flow = process.kernel.inflow(x, t.double())

    def entropy(c: Tensor, r: Tensor, rate: Tensor, i: Tensor) -> Tensor:
        r, some = r.double(), (c > 0) & (rate > 0)  # a network may exclude what cannot be
        log = (torch.where(some, c, 1.0) / torch.where(some, r, 1.0)).log()  # 0 log 0 = 0
        each = rate * (r - c + c * log)
        return each.scatter(-1, i[..., None], 0.0).sum(-1)

    return item_sum(apply(true, entropy, said, flow, x))
