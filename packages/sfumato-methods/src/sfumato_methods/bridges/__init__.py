"""Pinned processes and what belongs to them: paths between paired ends, couplings, denoisers."""

from __future__ import annotations

from .denoisers import Bridging
from .paths import (
    Arch,
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
    Restored,
    Sourced,
    Transport,
    brownian_bridge,
    ddbm,
    ddbm_ve,
    interpolant,
    rddm,
)

__all__ = [
    "Arch", "Bridging", "Curve", "Doob", "Level", "Missing", "Path", "Pinned", "Residual", "Rest",
    "Restored", "Rise", "Root", "Shares", "Sine", "Sourced", "Straight", "Transport",
    "brownian_bridge", "ddbm", "ddbm_ve", "interpolant", "rddm",
]  # fmt: skip
