"""Published systems as data: what they are made of, what they claim, how the claim is tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InputError

__all__ = ["Claim", "Measured", "System", "Trial"]


@dataclass(frozen=True)
class Trial:
    """One run of a system's trial: what it may use."""

    seed: int  # every draw of the trial derives from it
    scale: float  # 1 for the published desk scale, less for a quick look
    device: str
    scratch: Path  # folder for intermediate files
    minutes: float  # time allowed


@dataclass(frozen=True)
class Measured:
    """One number of a trial, for the method and for its baseline, run side by side."""

    method: float
    baseline: float  # equal in parameters, data, steps and seeds
    floor: float | None  # the same measure between real data and real data
    n: int  # samples on each side
    cost: float  # seconds, or FLOPs where the claim is about cost

    @property
    def ratio(self) -> float:
        """Method over baseline; NaN where the baseline is zero."""
        return self.method / self.baseline if self.baseline else math.nan


@dataclass(frozen=True)
class Claim:
    """A headline as a bound, fixed before looking, on the ratio of a measured number."""

    says: str  # the claim in words
    key: str  # which number of the trial it is about
    at_most: float | None = None  # largest ratio that reproduces it
    at_least: float | None = None  # or the smallest

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise InputError(f"the claim {self.says!r} needs either at_most or at_least")

    def holds(self, ratio: float) -> bool:
        """Whether a ratio reproduces the claim; NaN never does."""
        if self.at_most is not None:
            return ratio <= self.at_most
        assert self.at_least is not None
        return ratio >= self.at_least


@dataclass(frozen=True)
class System:
    """One published method."""

    id: str  # its id in the table of systems
    title: str  # of the paper
    source: str  # authors, year, arXiv id or DOI
    components: Sequence[str]  # registered names that it is made of
    trial: Callable[[Trial], Mapping[str, Measured]]  # runs method and baseline side by side
    claims: Sequence[Claim]
    recipe: str | None = None  # registered recipe that trains it
    covers: Mapping[str, str] = field(default_factory=dict)  # surveys: leaf to component
