"""Rectified flow: pairs along a learned flow, to train a straighter one on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato import Dirac, InputError, Process, Sampler, run, sample
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import axpy, item_sum

__all__ = ["rectified", "straightness"]


def rectified(
    process: Process,
    denoiser: Denoise,
    source: Any,
    *,
    sampler: Sampler,
    grid: Tensor,
    generator: Source,
) -> Any:
    """Where the flow takes each source: with it, a pair to train `Transport` on.

    Liu et al. 2022, arXiv:2209.03003, algorithm 1: the pairs keep both laws, their paths cross
    less, and transport between them never costs more.

    Args:
        process: of the learned flow.
        denoiser: of it.
        source: states at t = 1: noise, or sources.
        sampler: deterministic, such as `Heun`.
        grid: times from 1 to 0.
        generator: not drawn from.

    Returns:
        A state like `source`.

    Raises:
        InputError: if the sampler draws noise, so that a source would not tell its item.
    """
    if not sampler.deterministic:
        raise InputError(
            f"{sampler} draws noise; pairs need a deterministic sampler such as Heun()"
        )
    return sample(
        process,
        denoiser,
        source,
        sampler=sampler,
        grid=grid,
        generator=generator,
        start=Dirac(source),
    )


def straightness(
    process: Process,
    denoiser: Denoise,
    source: Any,
    *,
    sampler: Sampler,
    grid: Tensor,
    generator: Source,
) -> float:
    r"""How far paths bend: \int E|(x_1 - x_0) - dx/dt|^2 dt / E|x_1 - x_0|^2, 0 for straight ones.

    Liu et al. 2022, arXiv:2209.03003, eq. 8, relative to the length of the paths; dx/dt is that of
    the steps of the sampler.

    Args:
        process: of the flow.
        denoiser: of it.
        source: states at t = 1.
        sampler: deterministic; `Euler` in many steps for the flow itself.
        grid: shared times from 1 to 0.
        generator: not drawn from.
    """
    with torch.inference_mode():
        frames = list(run(sampler, process, denoiser, source, grid, generator))
        whole = axpy(-1.0, frames[-1].after, source)
        bent = 0.0
        for frame in frames:
            dt = float(frame.t - frame.s)
            off = whole - axpy(-1.0, frame.after, frame.before) * (1 / dt)
            bent += dt * float(item_sum(off * off).double().mean())
        return bent / float(item_sum(whole * whole).double().mean())
