"""Learned forward processes: how data is noised is trained together with the denoiser."""

from __future__ import annotations

from .conditional import Conditional
from .fpdiff import FPDiff
from .matrix import FullNormal
from .ndm import NDM, ndm
from .nets import Pointwise
from .nfdm import NFDM, bend, nfdm

__all__ = [
    "FPDiff",
    "FullNormal",
    "NDM",
    "NFDM",
    "Conditional",
    "Pointwise",
    "bend",
    "ndm",
    "nfdm",
]
