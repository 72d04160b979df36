"""Samplers: frozen values that walk a grid of times."""

from __future__ import annotations

from .ddim import DDIM
from .dpmpp import DPMSolverPP
from .flow import Euler, Heun

__all__ = ["DDIM", "DPMSolverPP", "Euler", "Heun"]
