"""Diffusion on curved spaces, towards the uniform law: rotations and angles."""

from __future__ import annotations

from .rotations import Rotations, rotation
from .tangent import Geodesic, Manifold, Tangent
from .torus import Torus, wrapped

__all__ = ["Geodesic", "Manifold", "Rotations", "Tangent", "Torus", "rotation", "wrapped"]
