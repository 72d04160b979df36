"""Samplers by the names that they are announced under, where these stand for an argument."""

from __future__ import annotations

from functools import partial

from .dbim import DBIM
from .deis import IPNDM, RhoAB, TimeAB
from .dpmpp import DPMSolverPP
from .dpmsolver import DPMSolver, DPMSolverAdaptive
from .exponential import ExponentialAB
from .runge_kutta import RhoRK
from .unipc import UniPC

__all__ = [
    "dbim_2", "deis_rhoab3", "deis_rhork", "deis_tab3", "dpmpp_2m", "dpmpp_2s", "dpmpp_3m",
    "dpmpp_3s", "dpmsolver_2", "dpmsolver_3", "dpmsolver_adaptive", "exp_ab2", "exp_ab3",
    "exp_ab3_noise", "exp_ab4", "ipndm", "unipc_2", "unipc_3", "unipc_bounded",
]  # fmt: skip

dpmpp_2m = partial(DPMSolverPP, order=2)
dpmpp_3m = partial(DPMSolverPP, order=3)
dpmpp_2s = partial(DPMSolver, order=2, predict="data")
dpmpp_3s = partial(DPMSolver, order=3, predict="data")
dpmsolver_2 = partial(DPMSolver, order=2)
dpmsolver_3 = partial(DPMSolver, order=3)
dpmsolver_adaptive = DPMSolverAdaptive
dbim_2 = partial(DBIM, order=2)
deis_tab3 = partial(TimeAB, degree=3)
deis_rhoab3 = partial(RhoAB, degree=3)
deis_rhork = partial(RhoRK, order=4)
ipndm = partial(IPNDM, degree=3)
unipc_2 = partial(UniPC, order=2)
unipc_3 = partial(UniPC, order=3)
unipc_bounded = partial(UniPC, order=3, bound=5.0)
exp_ab2 = partial(ExponentialAB, order=2)
exp_ab3 = partial(ExponentialAB, order=3)
exp_ab3_noise = partial(ExponentialAB, order=3, predict="noise")
exp_ab4 = partial(ExponentialAB, order=4)
