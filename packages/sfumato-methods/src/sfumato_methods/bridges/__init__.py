"""Pinned processes and what belongs to them: paths between paired ends, couplings, denoisers."""

from __future__ import annotations

from .couplings import Coupling, Sinkhorn, assignment, costs
from .denoisers import Blind, Bridging, Residuals
from .onesided import OneSided
from .paths import (
    Arch,
    Around,
    Curve,
    Doob,
    Level,
    Missing,
    Path,
    Residual,
    Rest,
    Rise,
    Root,
    Shares,
    Sine,
    Straight,
)
from .process import (
    Pinned,
    ResidualDiffusion,
    Restored,
    Sourced,
    Transport,
    brownian_bridge,
    ddbm,
    ddbm_ve,
    interpolant,
    rddm,
)
from .referenced import Referenced, Referring
from .reflow import rectified, straightness

__all__ = [
    "Arch", "Around", "Blind", "Bridging", "Coupling", "Curve", "Doob", "Level", "Missing",
    "OneSided", "Path", "Pinned", "Referenced", "Referring", "Residual", "ResidualDiffusion",
    "Residuals", "Rest", "Restored", "Rise", "Root", "Shares", "Sine", "Sinkhorn", "Sourced",
    "Straight", "Transport", "assignment", "brownian_bridge", "costs", "ddbm", "ddbm_ve",
    "interpolant", "rddm", "rectified", "straightness",
]  # fmt: skip
