"""Published weightings of the denoising loss, as weights of the squared error of x_0.

A weight maps (process, t) to (B,) float64, finite for all t in [0, 1]. With
x_t = alpha x_0 + sigma eps and SNR = alpha^2/sigma^2, the loss of a network that predicts F is
the x_0 loss times the weight named after F, whatever the network in fact predicts.
"""

from __future__ import annotations

__all__ = [
    "Weight",
    "edm",
    "eps",
    "flow",
    "masked",
    "matching",
    "min_snr",
    "named",
    "score",
    "sigmoid",
    "v",
    "x0",
]

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sfumato import Can, Denoiser, InputError, Preconditioned, Process, Unsupported
from sfumato.components import close_matches
from sfumato.process import CLOCK_LIMIT
from sfumato_methods.discrete import Discrete, RankOne

from .times import inside

Weight: TypeAlias = Callable[[Process, Tensor], Tensor]


def x0(process: Process, t: Tensor) -> Tensor:
    """1, the loss of posteriors as it is; for every process."""
    return torch.ones_like(t, dtype=torch.float64)


def eps(process: Process, t: Tensor) -> Tensor:
    """SNR: the loss of noise prediction (Ho et al. 2020, arXiv:2006.11239, eq. 14)."""
    return _snr(process, t)


def score(process: Process, t: Tensor) -> Tensor:
    """alpha^2/sigma^4: the loss of score prediction (Song et al. 2021, arXiv:2011.13456).

    Their weight sigma^2 makes it `eps`, which is what one trains with.
    """
    affine, at = _affine(process), inside(process, t)
    weight: Tensor = (affine.alpha(at) / affine.sigma(at).square()).square()
    return weight


def v(process: Process, t: Tensor) -> Tensor:
    """SNR + 1: the loss of v prediction (Salimans & Ho 2022, arXiv:2202.00512)."""
    return _snr(process, t) + 1


def flow(process: Process, t: Tensor) -> Tensor:
    """(alpha/sigma + 1)^2: the loss of eps - x_0 (Lipman et al. 2022, arXiv:2210.02747)."""
    return (_snr(process, t).sqrt() + 1).square()


def edm(process: Process, t: Tensor, sigma_data: float = 1.0) -> Tensor:
    """SNR + 1/sigma_data^2 = 1/c_out^2 (Karras et al. 2022, arXiv:2206.00364, table 1)."""
    return _snr(process, t) + sigma_data**-2


def min_snr(process: Process, t: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR, gamma) (Hang et al. 2023, arXiv:2303.09556)."""
    return _snr(process, t).clamp(max=gamma)


def sigmoid(process: Process, t: Tensor, bias: float = 2.0) -> Tensor:
    """ELBO weight that falls with the log-SNR (Kingma & Gao 2023, arXiv:2303.00848).

    With uniform times, SNR * sigmoid(bias - logsnr) * (-d logsnr/dt)/2: it does not depend on the
    schedule.
    """
    affine = _affine(process)
    with torch.enable_grad():
        at = inside(process, t).detach().requires_grad_()
        logsnr = affine.logsnr(at)
        (slope,) = torch.autograd.grad(logsnr.sum(), at)
    logsnr = logsnr.detach()
    weight: Tensor = -0.5 * slope * (bias - logsnr).sigmoid() * logsnr.exp()
    return weight


def masked(process: Process, t: Tensor) -> Tensor:
    """-a'/(1 - a) of a chain that only masks: the bound in nats an element, for uniform times.

    Sahoo et al. 2024, arXiv:2406.07524, eq. 10; 1/t on a linear schedule. The variance comes from
    small t, so clip them: `times.between(0.02)`.

    Raises:
        Unsupported: for any other process.
    """
    kernel = process.kernel if isinstance(process, Discrete) else None
    if not isinstance(kernel, RankOne) or kernel.absorbs is None:
        raise Unsupported(f"this weight is for Discrete(absorbing(K)), not for {process}")
    at = inside(process, t)
    return -kernel.keep.slope(at) / (1 - kernel.keep(at))


_NAMED: dict[str, Weight] = {
    "x0": x0,
    "masked": masked,
    "eps": eps,
    "v": v,
    "flow": flow,
    "edm": edm,
    "min-snr": min_snr,
    "sigmoid": sigmoid,
}


def named(name: str) -> Weight:
    """The weight of that name: x0, masked, eps, v, flow, edm, min-snr, sigmoid.

    Raises:
        InputError: for an unknown name, with close matches.
    """
    if name not in _NAMED:
        close = close_matches(name, _NAMED)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(_NAMED)}"
        raise InputError(f"there is no weight {name!r}; {hint}")
    return _NAMED[name]


def matching(denoiser: Denoiser) -> Weight:
    """The weight that gives a `Preconditioned` network the loss of what it predicts.

    For a score network that is `eps` (see `score`); for a denoiser of any other class `x0`.
    """
    if not isinstance(denoiser, Preconditioned):
        return x0
    if denoiser.predict == "edm":
        return partial(edm, sigma_data=denoiser.sigma_data)
    return named("eps" if denoiser.predict == "score" else denoiser.predict)


def _affine(process: Process) -> Any:
    if Can.AFFINE not in process.can:
        raise Unsupported(
            f"this weight needs AFFINE; {process} can {process.can.names()}. Use weights.x0, the "
            "loss of the posterior as it is"
        )
    return process


def _snr(process: Process, t: Tensor) -> Tensor:
    logsnr: Tensor = _affine(process).logsnr(t)
    return logsnr.clamp(-2 * CLOCK_LIMIT, 2 * CLOCK_LIMIT).exp()
