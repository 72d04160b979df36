"""Samplers of one kind of process, which walk each part of a product by itself."""

from __future__ import annotations

from typing import Any

from sfumato import Multistep, PerPart, Process, Product
from sfumato.random import Source
from sfumato.sampling import Denoise, Trajectory
from sfumato.state import Time

__all__ = ["EachPart"]


class EachPart(Multistep):
    """Base of samplers that draw, and for which a product is no more than its parts."""

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Evaluate and advance, each part of a product on its own."""
        if isinstance(process, Product):
            each = PerPart(default=self).on(process)
            return each.trajectory(process, denoiser, x, grid, generator)
        return super().trajectory(process, denoiser, x, grid, generator)
