"""Samplers and the one driver that runs them.

A sampler is a frozen value whose `trajectory` is a coroutine: it yields a `Frame` for each step
and receives the state to go on from. What is the same for all samplers (checks, constraints,
resting items, gradient mode) is done once, in `run` and `sample`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from .errors import InputError, Unsupported
from .process import Can, Process, check_time
from .random import Source
from .state import Fields, Time, apply, expand, leaf, where

if TYPE_CHECKING:
    from .codec import Codec
    from .constraint import Constraint

__all__ = [
    "Ancestral", "Denoise", "Frame", "Multistep", "Point", "Sampler", "run", "sample", "times",
]  # fmt: skip

Denoise: TypeAlias = Callable[[Any, Any], Any]
"""What a sampler calls: a `Denoiser`, or any function of (x, t) that returns a posterior."""


class Frame(NamedTuple):
    """One step of a trajectory, from time `t` to time `s`."""

    t: Any
    s: Any
    before: Any
    posterior: Any
    after: Any


Trajectory: TypeAlias = Generator[Frame, Any, None]


class Sampler(Protocol):
    """A frozen value (no tensors, no counters) that knows how to walk a grid of times."""

    @property
    def needs(self) -> Can:
        """Capabilities that the process must have."""

    @property
    def deterministic(self) -> bool:
        """Whether it draws nothing; then it also accepts ascending grids."""

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Yields a `Frame` per step and receives the state to go on from."""


class Point(NamedTuple):
    """What a multistep sampler remembers of a step: where it was and what was predicted there."""

    t: Any
    x: Any
    posterior: Any


class Multistep:
    """Base of samplers that evaluate the denoiser once per step.

    Subclasses plan their coefficients once per grid and advance with them; the last `memory` points
    are at hand, the newest last.
    """

    needs: ClassVar[Can]
    memory: ClassVar[int] = 1

    @property
    def deterministic(self) -> bool:
        """Whether it draws nothing."""
        return True

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        """One row of coefficients for each step: floats where the time is shared, else tensors."""
        raise NotImplementedError

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        """The state at time `s`."""
        raise NotImplementedError

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """Evaluate, remember, advance."""
        past: deque[Point] = deque(maxlen=self.memory)
        clocks = times(grid)
        for row, t, s in zip(self.plan(process, grid), clocks, clocks[1:], strict=False):
            q = denoiser(x, t)
            past.append(Point(t, x, q))
            x = yield Frame(t, s, x, q, self.advance(row, process, past, s, generator))


@dataclass(frozen=True)
class Ancestral(Multistep):
    """Draw each step from the transition law of the process.

    For Gaussian processes this is DDPM (Ho et al. 2020, arXiv:2006.11239), for discrete ones D3PM
    (Austin et al. 2021, arXiv:2107.03006).
    """

    needs: ClassVar[Can] = Can.STEP

    @property
    def deterministic(self) -> bool:
        return False

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        return process.plan(grid)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        t, x, q = past[-1]
        return process.transition(q, x, t, s, row).sample(generator)


def times(grid: Time) -> list[Any]:
    """The times of a grid: tensors, or for a mapping of grids one mapping per step."""
    if isinstance(grid, Mapping):
        columns = {k: times(v) for k, v in grid.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return list(grid.unbind(0))


def run(
    sampler: Sampler,
    process: Process,
    denoiser: Denoise,
    x: Any,
    grid: Time,
    generator: Source,
    constraint: Constraint | None = None,
) -> Iterator[Frame]:
    """Walk a grid of times, yielding each step after constraint and rest have been applied.

    Args:
        sampler: how to step. One that a product of processes cannot serve as a whole is given to
            each of its parts (`PerPart`).
        process: the process whose laws are followed.
        denoiser: a `Denoiser`, or a function of (x, t).
        x: the state at grid[0].
        grid: (N + 1, ...) float times in [0, 1]: shared, per item, per frame, or a mapping of such
            by field. Descending; deterministic samplers also go up. Where two neighbours are equal
            the state rests, bit for bit.
        generator: source of all draws.
        constraint: changes each new state, for instance `Known`.

    Raises:
        InputError: for a grid outside [0, 1], not monotone, or ascending where it cannot.
        Unsupported: if the process lacks what the sampler needs, or gets a posterior it cannot use.
    """
    sampler = _fit(sampler, process)
    grid, resting = _checked(grid, sampler, x)
    steps = sampler.trajectory(process, _watched(denoiser, process), x, grid, generator)
    return _drive(steps, process, generator, constraint, resting)


def _drive(
    steps: Trajectory,
    process: Process,
    generator: Source,
    constraint: Constraint | None,
    resting: list[bool],
) -> Iterator[Frame]:
    frame = next(steps, None)
    for rests in resting:
        if frame is None:
            return
        if constraint is not None:
            frame = frame._replace(after=constraint(process, frame, generator))
        if rests:
            frame = frame._replace(after=_rest(frame))
        yield frame
        try:
            frame = steps.send(frame.after)
        except StopIteration:
            return


def _rest(frame: Frame) -> Any:
    """The new state, but the old one wherever time stands still."""

    def still(t: Time, s: Time) -> Any:
        if isinstance(t, Mapping) and isinstance(s, Mapping):
            return {k: still(t[k], s[k]) for k in t}
        return t == s

    return where(expand(frame.before, still(frame.t, frame.s)), frame.before, frame.after)


def _watched(denoiser: Denoise, process: Process) -> Denoise:
    """The denoiser, its first posterior checked."""
    checked = False

    def call(x: Any, t: Time) -> Any:
        nonlocal checked
        q = denoiser(x, t)
        if not checked:
            process.check(q)
            checked = True
        return q

    return call


def _fit(sampler: Sampler, process: Process) -> Sampler:
    """The sampler itself, or one per part of a product that cannot serve it as a whole."""
    from .product import PerPart, Product

    if isinstance(sampler, PerPart):
        return sampler.on(process)
    missing = sampler.needs & ~process.can
    if not missing:
        return sampler
    if isinstance(process, Product) and isinstance(sampler, Multistep):
        return PerPart(default=sampler).on(process)
    way_out = "Use Ancestral()" if Can.STEP in process.can else "It needs a sampler of its own"
    raise Unsupported(
        f"{type(sampler).__name__} needs {missing.names()}; {process} can {process.can.names()}. "
        f"{way_out}"
    )


def _checked(grid: Time, sampler: Sampler, x: Any) -> tuple[Any, list[bool]]:
    """The grid on the device of the state, and for each step whether anything rests in it."""
    if isinstance(grid, Mapping):
        parts = {k: _checked(v, sampler, x[k]) for k, v in grid.items()}
        if len({len(rests) for _, rests in parts.values()}) != 1:
            raise InputError("the grids of the fields differ in their number of steps")
        rests = [any(r) for r in zip(*(rests for _, rests in parts.values()), strict=True)]
        return {k: v for k, (v, _) in parts.items()}, rests
    if not isinstance(grid, Tensor) or grid.ndim == 0 or len(grid) < 2:
        raise InputError("a grid is a float tensor of at least two times along its first dimension")
    check_time(grid)
    step = grid.detach().diff(dim=0)
    if bool((step > 0).any()) and bool((step < 0).any()):
        raise InputError("the grid is not monotone; give times that only descend (or only ascend)")
    if bool((step > 0).any()) and not sampler.deterministic:
        raise InputError(
            f"the grid ascends, but {type(sampler).__name__} draws noise and can only descend; use "
            "a deterministic sampler such as DDIM() to go from data to noise"
        )
    if bool(((step > 0) & (grid[:-1] == 0)).any()):
        raise InputError(
            "the grid ascends from t = 0, where there is no noise to follow; start at a small time "
            "such as 0.001"
        )
    for part in _parts(x):
        expand(part, grid[0].detach())  # raises where the shapes do not fit
    rests = (step == 0).flatten(1).any(1).tolist() if grid.ndim > 1 else (step == 0).tolist()
    return grid.double() if grid.ndim == 1 else grid.double().to(leaf(_parts(x)[0]).device), rests


def _parts(x: Any) -> list[Any]:
    return [p for v in x.values() for p in _parts(v)] if isinstance(x, Fields) else [x]


def sample(
    process: Process,
    denoiser: Denoise,
    like: Any,
    *,
    sampler: Sampler,
    grid: Time,
    generator: Source,
    constraint: Constraint | None = None,
    codec: Codec | None = None,
    start: Any = None,
    grad: bool = False,
) -> Any:
    """Draw from the model: prior, driver, projection, decoding.

    Args:
        process: the process.
        denoiser: a `Denoiser`, or a function of (x, t).
        like: a data state whose shape, dtype, device, mask and layout the samples take.
        sampler: how to step.
        grid: times from 1 to 0, see `run`.
        generator: one generator, or `Streams` to make every item independent of the batch.
        constraint: see `run`; it works in the space of the process.
        codec: maps between data and the space of the process.
        start: `Law` of the state at grid[0], where that is not 1; None: the prior.
        grad: keep the graph, to differentiate through sampling.

    Returns:
        A state like `like`.
    """
    with torch.enable_grad() if grad else torch.inference_mode():
        x = (start or process.prior(codec.layout(like) if codec else like)).sample(generator)
        for frame in run(sampler, process, denoiser, x, grid, generator, constraint):
            x = frame.after
        x = process.project(x)
        x = codec.decode(x) if codec else x
    # Tensors made in inference mode cannot enter autograd later; a copy made outside can.
    return x if grad else apply(x, torch.clone)
