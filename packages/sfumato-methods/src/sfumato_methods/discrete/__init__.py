"""Discrete processes: finite Markov chains on every token, node or bond."""

from __future__ import annotations

from .denoiser import TokenDenoiser
from .kernels import CosineKeep, Keep, Kernel, LinearKeep, RankOne, absorbing, marginal, uniform
from .process import Discrete, JointDiscrete

__all__ = [
    "CosineKeep",
    "Discrete",
    "JointDiscrete",
    "Keep",
    "Kernel",
    "LinearKeep",
    "RankOne",
    "TokenDenoiser",
    "absorbing",
    "marginal",
    "uniform",
]
