"""Guidance: denoisers around denoisers."""

from __future__ import annotations

from .cfg import CFG, extrapolate

__all__ = ["CFG", "extrapolate"]
