"""Gaussian processes: x_t = alpha(t) x_0 + sigma(t) eps under a named schedule."""

from __future__ import annotations

from .process import Gaussian, cosine, edm, linear, ve, vp
from .schedules import EDM, VE, VP, Cosine, Linear, Schedule, Table
from .spaces import Centred

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Centred",
    "Cosine",
    "Gaussian",
    "Linear",
    "Schedule",
    "Table",
    "cosine",
    "edm",
    "linear",
    "ve",
    "vp",
]
