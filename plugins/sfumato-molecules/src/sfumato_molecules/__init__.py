"""Molecules for sfumato; what this plugin offers: :mod:`sfumato_molecules.plugin`."""

from __future__ import annotations

__all__: list[str] = []
