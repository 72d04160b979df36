"""What training consumes and what it leaves behind: `Batch`, `Maybe` and `Model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Generator, Tensor

from .codec import Codec
from .denoiser import Denoiser
from .process import Process
from .sampling import Sampler
from .state import Time

__all__ = ["Batch", "Maybe", "Model"]


@dataclass(frozen=True)
class Batch:
    """Items of data.

    Attributes:
        x: state, batch first.
        condition: named conditions, batch first.
        about: host-side facts (units, source, affine) that go from reader to writer and never into
            the mathematics.
    """

    x: Any
    condition: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Maybe:
    """A condition that some items have and others do not (condition dropout).

    Attributes:
        value: batch-first condition; where absent, its entries are ignored.
        present: (B,) bool.
    """

    value: Any
    present: Tensor


@dataclass(frozen=True)
class Model:
    """What a checkpoint stores and the command line samples from.

    Attributes:
        process: the process.
        denoiser: the trained denoiser.
        sampler: sampler to use unless another is asked for.
        grid: maps (process, steps) to times from 1 to 0.
        steps: number of steps unless told otherwise.
        blank: maps (n, generator) to a data state of n items, drawing sizes where they vary.
        codec: maps between data and the space of the process, if there is one.
    """

    process: Process
    denoiser: Denoiser
    sampler: Sampler
    grid: Callable[[Process, int], Time]
    steps: int
    blank: Callable[[int, Generator], Any]
    codec: Codec | None = None
