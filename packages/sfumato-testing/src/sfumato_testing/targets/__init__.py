"""Data laws whose denoiser is known exactly.

A target draws (`sample`), has a density (`nll`) and gives its `denoiser` under a process. It knows
processes by their contract alone: alpha and sigma, or the density of their marginal law.
"""

from __future__ import annotations

from .base import Target
from .corrupted import Corrupted
from .finite import Enumerated, Factorised, Together
from .gaussian import DiagonalMixture, FullMixture

__all__ = [
    "Corrupted",
    "DiagonalMixture",
    "Enumerated",
    "Factorised",
    "FullMixture",
    "Target",
    "Together",
]
