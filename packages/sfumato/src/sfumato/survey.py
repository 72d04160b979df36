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
    """One run of a system's trial: what it may use.

    Attributes:
        seed: every draw of the trial derives from it.
        scale: 1 for the published desk scale; less for a quick look.
        device: torch device name.
        scratch: folder for intermediate files.
        minutes: time allowed.
    """

    seed: int
    scale: float
    device: str
    scratch: Path
    minutes: float


@dataclass(frozen=True)
class Measured:
    """One number of a trial, for the method and for its baseline, run side by side.

    Attributes:
        method: value of the method.
        baseline: value of the named baseline, equal in parameters, data, steps and seeds.
        floor: the same measure between real data and real data.
        n: samples on each side.
        cost: seconds, or FLOPs where the claim is about cost.
    """

    method: float
    baseline: float
    floor: float | None
    n: int
    cost: float

    @property
    def ratio(self) -> float:
        """Method / baseline; NaN where the baseline is zero."""
        return self.method / self.baseline if self.baseline else math.nan


@dataclass(frozen=True)
class Claim:
    """A headline as a bound, fixed before looking, on the ratio of a measured number.

    Attributes:
        says: the claim in words.
        key: which number of the trial it is about.
        at_most: largest ratio that reproduces it.
        at_least: smallest ratio that reproduces it.
    """

    says: str
    key: str
    at_most: float | None = None
    at_least: float | None = None

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
    """One published method.

    Attributes:
        id: its id in the table of systems.
        title: title of the paper.
        source: authors, year, arXiv id or DOI.
        components: registered names that it is made of.
        recipe: registered recipe that trains it, if it has one.
        trial: runs method and baseline side by side.
        claims: what is checked.
        covers: for surveys, leaf of the taxonomy to component.
    """

    id: str
    title: str
    source: str
    components: Sequence[str]
    trial: Callable[[Trial], Mapping[str, Measured]]
    claims: Sequence[Claim]
    recipe: str | None = None
    covers: Mapping[str, str] = field(default_factory=dict)
