"""Grids: the times that a sampler walks, float64, from 1 (prior) to 0 (data).

A grid that is a function of (process, steps) can be named on the command line and stored with a
model; `Levels` is one that is a value, published or learned. Samplers read the times from the
tensor alone. Beside them stands what else is chosen about times: what a network is told
(`SharedClock`), and a learned law to begin with at T < 1 (`LearnedStart`).
"""

from __future__ import annotations

from .ays import align, klub
from .fixed import booted, cosine, explicit, karras, logsnr, pyramid, quadratic, shifted, uniform
from .focused import focused
from .ld3 import learn, mean_square
from .levels import Levels, Retimed, ays_sd, ays_sdxl, ays_svd
from .shared import SharedClock, sensitivity
from .start import LearnedStart, path_loss, start_loss

__all__ = [
    "LearnedStart", "Levels", "Retimed", "SharedClock", "align", "ays_sd", "ays_sdxl", "ays_svd",
    "booted", "cosine", "explicit", "focused", "karras", "klub", "learn", "logsnr", "mean_square",
    "path_loss", "pyramid", "quadratic", "sensitivity", "shifted", "start_loss", "uniform",
]  # fmt: skip
