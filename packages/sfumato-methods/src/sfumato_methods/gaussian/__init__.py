"""Gaussian processes: x_t = alpha(t) x_0 + sigma(t) eps under a named schedule, and relatives.

Coupled copies of the data (`Phase`: matrix diffusions) are linear in x_0 too.
"""

from __future__ import annotations

from .agm import AGM, agm
from .bands import Banded, Bands, Frequencies, InBands, blurring
from .coupled import Coupled
from .heavy import HeavyTailed, StudentT, pfgmpp
from .matrix import LinearSDE, MatrixDiffusion, TimeVarying, alda, cld, malda
from .phase import Observed, Observing, Phase, shown
from .process import Gaussian, cosine, edm, linear, subvp, ve, vp
from .schedules import EDM, VE, VP, Cosine, Linear, Schedule, SubVP, Table
from .spaces import Centred

__all__ = [
    "AGM",
    "EDM",
    "VE",
    "VP",
    "Banded",
    "Bands",
    "Centred",
    "Cosine",
    "Coupled",
    "Frequencies",
    "Gaussian",
    "InBands",
    "HeavyTailed",
    "Linear",
    "LinearSDE",
    "MatrixDiffusion",
    "Observed",
    "Observing",
    "Phase",
    "Schedule",
    "StudentT",
    "SubVP",
    "Table",
    "TimeVarying",
    "agm",
    "alda",
    "blurring",
    "cld",
    "cosine",
    "edm",
    "linear",
    "malda",
    "pfgmpp",
    "shown",
    "subvp",
    "ve",
    "vp",
]
