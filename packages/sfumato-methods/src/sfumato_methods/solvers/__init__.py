"""Samplers: frozen values that walk a grid of times."""

from __future__ import annotations

from .ddim import DDIM
from .deis import IPNDM, RhoAB, TimeAB
from .dpmpp import DPMSolverPP
from .dpmsolver import DPMSolver, DPMSolverAdaptive, singlestep_grid, singlestep_orders
from .exponential import ExponentialAB
from .flow import Euler, Heun
from .runge_kutta import RK4, Dopri5, RhoRK
from .thresholding import Thresholded
from .twofold import twofold
from .unipc import UniPC

__all__ = [
    "DDIM", "DPMSolver", "DPMSolverAdaptive", "DPMSolverPP", "Dopri5", "Euler", "ExponentialAB",
    "Heun", "IPNDM", "RK4", "RhoAB", "RhoRK", "Thresholded", "TimeAB", "UniPC", "singlestep_grid",
    "singlestep_orders", "twofold",
]  # fmt: skip
