"""Intrinsic dimension of data from its score at a low noise level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Process, expand, random
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import apply, item_sum

from .gauge import noise_level
from .layout import Rows, dimensions, subspace, values
from .traces import Exact, Trace, divergence, standard_error

__all__ = ["flipd", "normal_spectrum", "svd_dimension"]


def flipd(
    process: Process,
    denoiser: Denoise,
    x0: Any,
    t: Tensor,
    *,
    trace: Trace | None = None,
    generator: Source | None = None,
) -> tuple[Tensor, Tensor]:
    """Dimension by the Fokker-Planck equation: D + sigma^2 (div s + |s|^2) at alpha x_0.

    That is how the log density, smoothed at the scale delta = sigma/alpha, grows with log delta,
    which for data on a manifold of dimension d is d - D (Kamkari et al. 2024, arXiv:2406.03537,
    theorem 3.1). One trace and one call an item. The field s must be conservative.

    Args:
        process: needs AFFINE, GAUSSIAN, SCORE.
        denoiser: a `Denoiser`, or a function of (x, t), which autograd can differentiate.
        x0: clean state, of any kind.
        t: () the time whose sigma/alpha is the scale; above 0.
        trace: of the divergence; `Exact()` unless told.
        generator: of its probes.

    Returns:
        (B,) estimates of the dimension, float64, and (B,) their standard errors over the probes.
    """
    known = _at(process, t)
    x = apply(x0 * expand(x0, known.alpha(t)), torch.detach)

    def score(there: Any) -> Any:
        return process.score(denoiser(there, t), there, t)

    rule = trace or Exact()
    s, spread = divergence(score, x, rule, generator, subspace(process))
    variance = float(known.sigma(t)) ** 2
    found = dimensions(process, x) + variance * (spread.mean(1) + item_sum(s * s).double())
    return found, variance * standard_error(rule, spread)


def normal_spectrum(
    process: Process, denoiser: Denoise, x0: Any, t: Tensor, draws: int, generator: Source
) -> Tensor:
    """(B, min(draws, D)) singular values of sigma s(x_t, t) over draws of x_t given x_0.

    Descending, and divided by the root of the number of draws: about 1 for each direction normal to
    the data manifold, and small along it (Stanczuk et al. 2022, arXiv:2212.12611, algorithm 1).

    Args:
        process: needs AFFINE, GAUSSIAN, SCORE.
        denoiser: a `Denoiser`, or a function of (x, t).
        x0: clean state, of any kind.
        t: () the time of the noise level, above 0.
        draws: of each item, at least twice the numbers of an item for a clear gap.
        generator: of the noise.
    """
    if draws < 1:
        raise InputError(f"a spectrum needs at least 1 draw, not {draws}")
    rows, sigma = Rows(x0), float(_at(process, t).sigma(t))
    seen = []
    with torch.no_grad():
        for _ in range(draws):
            x = process.marginal(x0, t).sample(generator)
            seen.append(rows.of(*values(process.score(denoiser(x, t), x, t))))
        stacked = torch.stack(seen, 1).double() * (sigma * draws**-0.5)
        found: Tensor = torch.linalg.svdvals(stacked)
    return found


def svd_dimension(
    process: Process,
    denoiser: Denoise,
    x0: Any,
    t: Tensor,
    draws: int,
    generator: random.Source,
    threshold: float = 0.4,
) -> Tensor:
    """(B,) numbers of an item less its normal directions: spectrum above the threshold, long.

    Args:
        process: see `normal_spectrum`, like all but the last.
        denoiser: see there.
        x0: see there.
        t: see there.
        draws: see there.
        generator: see there.
        threshold: between the values along the manifold and the 1 of normal directions.
    """
    spectrum = normal_spectrum(process, denoiser, x0, t, draws, generator)
    return dimensions(process, x0).long() - (spectrum > threshold).sum(1)


def _at(process: Process, t: Tensor) -> Any:
    found = noise_level(process)
    if t.ndim or not float(found.sigma(t)) > 0:
        raise InputError(f"a dimension is that at one noise level above 0, not at t = {t.tolist()}")
    return found
