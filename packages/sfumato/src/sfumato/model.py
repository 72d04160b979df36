"""What training consumes and what it leaves behind: `Batch`, `Maybe` and `Model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .codec import Codec
from .denoiser import Denoiser
from .process import Process
from .sampling import Sampler
from .state import Time

__all__ = ["Batch", "Maybe", "Model"]


@dataclass(frozen=True)
class Batch:
    """Items of data."""

    x: Any  # state, batch first
    condition: Mapping[str, Any] = field(default_factory=dict)  # by name, batch first
    about: Mapping[str, Any] = field(default_factory=dict)  # units, source: from reader to writer


@dataclass(frozen=True)
class Maybe:
    """A condition that some items have and others do not (condition dropout)."""

    value: Any  # batch first; entries of items that lack it are ignored
    present: Tensor  # (B,) bool


@dataclass(frozen=True)
class Model:
    """What a checkpoint stores and the command line samples from."""

    process: Process
    denoiser: Denoiser
    sampler: Sampler  # sampler, grid and steps are used unless others are asked for
    grid: Callable[[Process, int], Time]  # (process, steps) to times from 1 to 0
    steps: int
    blank: Callable[..., Any]  # (n, generator) to n data states, their sizes drawn where they vary
    codec: Codec | None = None  # between data and the space of the process
    guidance: float | None = None  # scale of classifier-free guidance where conditions are given
    sizing: Sequence[str] = ()  # conditions that say how large, given to `blank` and to no network
