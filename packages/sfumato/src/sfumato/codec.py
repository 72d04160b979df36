"""Codecs: maps between data and the space that a process works in, used at the loop's edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from .random import Source

__all__ = ["Affine", "Codec"]


class Codec(Protocol):
    """A map from data to the space of the process and back."""

    @property
    def exact(self) -> float | None:
        """Largest absolute error of decode(encode(x)); None where it is not known."""

    def encode(self, x: Any, generator: Source) -> Any:
        """Data to the space of the process; the generator serves codecs that draw."""

    def decode(self, z: Any) -> Any:
        """Back to data."""

    def layout(self, like: Any) -> Any:
        """A state with the layout that data like `like` has when encoded."""

    def mask(self, m: Any) -> Any:
        """Which encoded entries are known where the data entries in `m` (bool) are."""


@dataclass(frozen=True)
class Affine:
    """Standardisation: z = (x - shift) / scale.

    Args:
        shift: mean of the data.
        scale: standard deviation of the data, not zero.
    """

    shift: float
    scale: float
    exact: float | None = 1e-6

    def encode(self, x: Any, generator: Source) -> Any:
        return (x - self.shift) / self.scale

    def decode(self, z: Any) -> Any:
        return z * self.scale + self.shift

    def layout(self, like: Any) -> Any:
        return like

    def mask(self, m: Any) -> Any:
        return m
