"""Gaussian processes: x_t = alpha(t) x_0 + sigma(t) eps under a named schedule, and relatives.

Coupled copies of the data (`Phase`: matrix diffusions) are linear in x_0 too.
"""

from __future__ import annotations

from .coupled import Coupled
from .matrix import LinearSDE, MatrixDiffusion, TimeVarying, alda, cld, malda
from .phase import Observed, Observing, Phase
from .process import Gaussian, cosine, edm, linear, subvp, ve, vp
from .schedules import EDM, VE, VP, Cosine, Linear, Schedule, SubVP, Table
from .spaces import Centred

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Centred",
    "Cosine",
    "Coupled",
    "Gaussian",
    "Linear",
    "LinearSDE",
    "MatrixDiffusion",
    "Observed",
    "Observing",
    "Phase",
    "Schedule",
    "SubVP",
    "Table",
    "TimeVarying",
    "alda",
    "cld",
    "cosine",
    "edm",
    "linear",
    "malda",
    "subvp",
    "ve",
    "vp",
]
