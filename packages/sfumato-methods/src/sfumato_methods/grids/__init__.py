"""Grids: the times that a sampler walks, float64, from 1 (prior) to 0 (data).

A grid that is a function of (process, steps) can be named on the command line and stored with a
model; `Levels` is one that is a value, published or learned. Samplers read the times from the
tensor alone.
"""

from __future__ import annotations

from .ays import align, klub
from .fixed import booted, cosine, explicit, karras, logsnr, pyramid, quadratic, uniform
from .ld3 import learn, mean_square
from .levels import Levels, Retimed, ays_sd, ays_sdxl, ays_svd
from .twofold import twofold

__all__ = [
    "Levels", "Retimed", "align", "ays_sd", "ays_sdxl", "ays_svd", "booted", "cosine", "explicit",
    "karras", "klub", "learn", "logsnr", "mean_square", "pyramid", "quadratic", "twofold",
    "uniform",
]  # fmt: skip
