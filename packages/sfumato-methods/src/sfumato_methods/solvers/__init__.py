"""Samplers: frozen values that walk a grid of times."""

from __future__ import annotations

from .angular import Angular
from .churn import ChurnHeun, RestartHeun
from .dbim import DBIM, BridgeHeun
from .ddim import DDIM
from .deis import IPNDM, RhoAB, TimeAB
from .dmcmc import LangevinGibbs
from .dpmpp import DPMSolverPP
from .dpmsolver import DPMSolver, DPMSolverAdaptive, singlestep_grid, singlestep_orders
from .ersde import ERSDE
from .euler_maruyama import EulerMaruyama
from .evodiff import EVODiff, EVODiffRelease
from .exponential import ExponentialAB
from .flow import Euler, Heun
from .langevin import S4, AnnealedLangevin, PredictorCorrector
from .lml import LML
from .phase import PhaseAB
from .rex import Rex, RexSDE
from .runge_kutta import RK4, Dopri5, RhoRK
from .seeds import SEEDS, SDEDPMSolverPP
from .thresholding import Thresholded
from .unipc import UniPC

__all__ = [
    "DBIM", "DDIM", "ERSDE", "IPNDM", "LML", "RK4", "S4", "SEEDS", "Angular", "AnnealedLangevin",
    "BridgeHeun", "ChurnHeun", "DPMSolver", "DPMSolverAdaptive", "DPMSolverPP", "Dopri5", "EVODiff",
    "EVODiffRelease", "Euler", "EulerMaruyama", "ExponentialAB", "Heun", "LangevinGibbs", "PhaseAB",
    "PredictorCorrector", "RestartHeun", "Rex", "RexSDE", "RhoAB", "RhoRK", "SDEDPMSolverPP",
    "Thresholded", "TimeAB", "UniPC", "singlestep_grid", "singlestep_orders",
]  # fmt: skip
