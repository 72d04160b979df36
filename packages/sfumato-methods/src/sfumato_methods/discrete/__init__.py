"""Discrete processes: finite Markov chains on every token, node or bond."""

from __future__ import annotations

from .automata import Automaton, Constrained
from .blocks import Blocks
from .denoiser import LogisticDenoiser, Nucleus, Temperature, TokenDenoiser
from .insertion import EventDriven, Growth, Insertion, InsertionDenoiser
from .kernels import Kernel, MaskReplace, RankOne, absorbing, marginal, uniform
from .leaping import OrdinalLeaping, RateEuler, TauLeaping
from .orders import (
    Confident,
    Entropy,
    Factor,
    LeftToRight,
    Margin,
    MaskGIT,
    Ordered,
    RandomOrder,
    Scheduled,
    TopProbability,
)
from .process import Discrete, JointDiscrete, Ratios
from .prompt import Prompt
from .remasking import Cap, Loop, Remasking, Rescale
from .schedules import CosineKeep, D3PMCosineKeep, Keep, LinearKeep
from .score import RatioDenoiser
from .shifting import ShiftedCounts, token_counts
from .structured import Exponential, Steps, band, nearest, ordinal
from .tokens import Tokens
from .unmasking import CachedAncestral, FirstHitting

__all__ = [
    "Automaton", "Blocks", "CachedAncestral", "Cap", "Confident", "Constrained", "CosineKeep",
    "D3PMCosineKeep", "Discrete", "Entropy", "EventDriven", "Exponential", "Factor", "FirstHitting",
    "Growth", "Insertion", "InsertionDenoiser", "JointDiscrete", "Keep", "Kernel", "LeftToRight",
    "LinearKeep", "LogisticDenoiser", "Loop", "Margin", "MaskGIT", "MaskReplace", "Nucleus",
    "Ordered", "OrdinalLeaping", "Prompt", "RandomOrder", "RankOne", "RateEuler", "RatioDenoiser",
    "Ratios", "Remasking", "Rescale", "Scheduled", "ShiftedCounts", "Steps", "TauLeaping",
    "Temperature", "TokenDenoiser", "Tokens", "TopProbability", "absorbing", "band", "marginal",
    "nearest", "ordinal", "token_counts", "uniform",
]  # fmt: skip
