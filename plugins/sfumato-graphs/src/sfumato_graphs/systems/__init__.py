"""Published systems of graphs, each with the trial of its claim."""

from __future__ import annotations

__all__: list[str] = []
