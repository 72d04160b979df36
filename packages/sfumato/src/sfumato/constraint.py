"""Constraints: what is known of a sample, imposed on every step of every sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from .process import Process
from .random import Source
from .sampling import Frame
from .state import where

__all__ = ["Constraint", "Known"]


class Constraint(Protocol):
    """Changes the new state of a step; called by the driver."""

    def __call__(self, process: Process, frame: Frame, generator: Source) -> Any:
        """The state to go on from, in place of `frame.after`."""


@dataclass(frozen=True)
class Known:
    """Known entries follow the forward law: inpainting, infilling, clues, scaffolds.

    After each step the known entries are drawn anew from q(x_s | x_0), as in RePaint without its
    resampling (Lugmayr et al. 2022, arXiv:2201.09865); at s = 0 they equal the values given.

    Args:
        values: clean state; entries outside the mask are ignored.
        mask: bool state of the same kind (or a tensor that broadcasts): True where known.
    """

    values: Any
    mask: Any

    def __call__(self, process: Process, frame: Frame, generator: Source) -> Any:
        known = process.marginal(self.values, frame.s).sample(generator)
        return where(self.mask, known, frame.after)
