"""What is put to the test: a process, the order of a solver, or the module of a plugin."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Generator, Tensor

from sfumato import Ancestral, InputError, Process, Sampler
from sfumato.sampling import Denoise
from sfumato.state import items, select

from .states import cast

__all__ = ["LAWS", "AnyCase", "Case", "Flow", "PluginCase", "SolverCase"]

LAWS = 1
"""Version of the laws. A case that pins it is not met by laws that are added later."""


class AnyCase(Protocol):
    """What every kind of case has.

    Attributes:
        name: begins the ids of its tests.
        laws: version of the laws that it is held to.
        expected_failures: number of a check ("C11") to the reason why it cannot hold.
    """

    @property
    def name(self) -> str:
        """Begins the ids of its tests."""

    @property
    def laws(self) -> int:
        """Version of the laws that it is held to."""

    @property
    def expected_failures(self) -> Mapping[str, str]:
        """Number of a check to the reason why it cannot hold."""


def _check_laws(laws: int) -> None:
    if not 1 <= laws <= LAWS:
        raise InputError(f"this kit knows the laws 1 to {LAWS}, but laws={laws} was asked for")


@dataclass(frozen=True, eq=False)
class Case:
    """A process, with what the laws are tried on.

    Attributes:
        process: what is tested; its `can` selects the checks.
        x0: clean examples, at least two items, all different and of order 1. Keep them small (a
            dozen numbers in all): the statistical laws are tried on 10,000 copies. Floating values
            are taken to float64.
        exact: exact denoiser of the data law, a function of (x, t); with a context a `Denoiser`,
            which is given it. Point estimates are enough, but only whole posteriors show that
            few-step sampling is right.
        data: maps (n, generator) to n draws of the data law, all of one layout; with a context
            draw i belongs to that of item i modulo the number of items.
        samplers: samplers to try on the process.
        frames: whether the process takes a time for each frame, (B, F).
        context: what the process is pinned to, by name, for every item of `x0`; it goes wherever
            the items go. The process of the case is the pinned one.
        name: begins the ids; by default the process without its numbers.
        laws: version of the laws to hold it to.
        expected_failures: number of a check ("C15") to the reason why it cannot hold here.

    Raises:
        InputError: for fewer than two items, or laws that the kit does not know.
    """

    process: Process
    x0: Any
    exact: Denoise | None = None
    data: Callable[[int, Generator], Any] | None = None
    samplers: Sequence[Sampler] = (Ancestral(),)
    frames: bool = True
    context: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    laws: int = LAWS
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_laws(self.laws)
        if items(self.x0) < 2:
            raise InputError("a Case needs at least two example items, to tell them apart")
        object.__setattr__(self, "x0", cast(self.x0))
        object.__setattr__(self, "name", self.name or _short(self.process))
        self._pin({name: cast(value) for name, value in self.context.items()})

    def _pin(self, context: Mapping[str, Any]) -> None:
        if context:
            object.__setattr__(self, "context", context)
            object.__setattr__(self, "process", self.process.given(**context))
            if self.exact is not None:
                denoiser: Any = self.exact
                object.__setattr__(self, "exact", denoiser.given(**context))

    def among(self, index: Tensor) -> Self:
        """The case of the items at `index` (long, repeats allowed), each with its context."""
        case = copy.copy(self)
        object.__setattr__(case, "x0", select(self.x0, index))
        case._pin({name: select(value, index) for name, value in self.context.items()})
        return case

    def copies(self, count: int) -> Self:
        """The case of all items over and over: item b of copy r stands at r B + b."""
        return self.among(torch.arange(items(self.x0)).repeat(count))


def _short(process: Process) -> str:
    """`Gaussian(VP)` for `Gaussian(VP(beta_min=0.1, beta_max=20.0))`."""
    inner = re.compile(r"(\(.*)\([^()]*\)")
    text = repr(process)
    while inner.search(text):
        text = inner.sub(r"\1", text)
    return text


class Flow(Protocol):
    """A data law whose probability flow is known in closed form."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Draws of the data law."""

    def denoiser(self, process: Process) -> Denoise:
        """Its exact denoiser under a process."""

    def flow(self, process: Process, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Where the probability flow takes `x` from time t to time s."""


@dataclass(frozen=True, eq=False)
class SolverCase:
    """A deterministic sampler, and the order at which it converges on the probability flow.

    Attributes:
        sampler: what is tested.
        order: how its error falls with the step: 1, 2, ...
        process: the process to try it on.
        target: a data law with a known flow, such as `sfumato_testing.FullMixture`.
        span: times between which the flow is followed, away from both ends.
        steps: number of steps of the coarser of the two grids compared.
        halvings: how often the first step is cut in half towards the start. Multistep solvers of
            order 3 and more start with steps of lower order, whose errors would else show.
        name: begins the ids.
        laws: version of the laws to hold it to.
        expected_failures: as for `Case`.
    """

    sampler: Sampler
    order: int
    process: Process
    target: Flow
    span: tuple[float, float] = (0.9, 0.2)
    steps: int = 96
    halvings: int = 0
    name: str = ""
    laws: int = LAWS
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_laws(self.laws)
        name = self.name or f"{self.sampler}-{_short(self.process)}"
        object.__setattr__(self, "name", name)


@dataclass(frozen=True)
class PluginCase:
    """The module that a plugin names in the entry-point group `sfumato`.

    Attributes:
        module: its dotted name, as in the entry point.
        name: begins the ids; by default the module.
        laws: version of the laws to hold it to.
        expected_failures: as for `Case`.
    """

    module: str
    name: str = ""
    laws: int = LAWS
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_laws(self.laws)
        object.__setattr__(self, "name", self.name or self.module)
