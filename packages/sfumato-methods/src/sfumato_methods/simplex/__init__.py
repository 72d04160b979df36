"""Diffusion of classes on the simplex (Wright-Fisher, Jacobi): continuous states, discrete data."""

from __future__ import annotations

from .dilated import Dilated
from .process import Point, Simplex, SimplexDenoiser

__all__ = ["Dilated", "Point", "Simplex", "SimplexDenoiser"]
