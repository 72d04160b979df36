"""Samplers: frozen values that walk a grid of times."""

from __future__ import annotations

from .churn import ChurnHeun, RestartHeun
from .ddim import DDIM
from .dmcmc import LangevinGibbs
from .dpmpp import DPMSolverPP
from .ersde import ERSDE
from .euler_maruyama import EulerMaruyama
from .evodiff import EVODiff, EVODiffRelease
from .flow import Euler, Heun
from .langevin import PredictorCorrector
from .lml import LML
from .rex import Rex, RexSDE
from .seeds import SEEDS, SDEDPMSolverPP

__all__ = [
    "DDIM",
    "ERSDE",
    "LML",
    "SEEDS",
    "ChurnHeun",
    "DPMSolverPP",
    "EVODiff",
    "EVODiffRelease",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "LangevinGibbs",
    "PredictorCorrector",
    "RestartHeun",
    "Rex",
    "RexSDE",
    "SDEDPMSolverPP",
]
