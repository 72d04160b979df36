"""A sampler walked from outside: whoever calls hands over what the network said, step by step.

A trajectory is a coroutine that calls a denoiser. Here the denoiser is a hand-over: it returns the
posteriors that were put down for it. A sampler with one call a step is simply resumed. One with
several calls a step asks in the middle of a step for a posterior that is not there yet; the step
is then run again with those put down so far, which costs no network call. Where a step depends on
those before it, so are they.
"""

from __future__ import annotations

__all__ = ["Walk", "calls", "forgets"]

from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from sfumato import Dirac, Frame, Multistep, Process, Sampler, Unsupported
from sfumato.random import Source


def calls(sampler: Sampler, process: Process, grid: Tensor) -> list[list[Tensor]]:
    """The times at which a sampler calls the denoiser, for each step of a grid.

    Raises:
        Unsupported: if the process lacks what the sampler needs, if the sampler chooses its times
            by what the network says, or if it draws in a step that has several calls.
    """
    missing = sampler.needs & ~process.can
    if missing:
        raise Unsupported(
            f"{type(sampler).__name__} needs {missing.names()}; {process} can {process.can.names()}"
        )
    if isinstance(sampler, Multistep):
        return [[t] for t in grid[:-1]]
    found = _asked(sampler, process, grid, lambda x, t: torch.zeros_like(x))
    # the grid alone says when, unless a network that changes fast with the state is asked otherwise
    rough = _asked(sampler, process, grid, lambda x, t: torch.sin(40 * x))
    if [[t.tolist() for t in step] for step in found] != [
        [t.tolist() for t in step] for step in rough
    ]:
        raise Unsupported(
            f"{type(sampler).__name__} chooses its steps by what the network says, so that a "
            "pipeline of diffusers cannot be told its timesteps beforehand; sample with "
            "sfumato.sample, or use a sampler with a fixed grid"
        )
    if not sampler.deterministic and any(len(times) > 1 for times in found):
        raise Unsupported(
            f"{type(sampler).__name__} draws noise and calls the network several times a step, "
            "which a scheduler of diffusers cannot do; sample with sfumato.sample, or use a "
            "sampler with one call a step"
        )
    return found


def _asked(
    sampler: Sampler, process: Process, grid: Tensor, says: Callable[[Any, Tensor], Any]
) -> list[list[Tensor]]:
    """The times at which a sampler asks a network that says this, for each step of a grid."""
    asked: list[Tensor] = []

    def denoiser(x: Any, t: Tensor) -> Dirac:
        asked.append(t)
        return Dirac(says(x, t))

    found = []
    x = torch.full((1, 1), 0.3, dtype=torch.float64)
    for _ in _steps(sampler.trajectory(process, denoiser, x, grid, torch.Generator())):
        found.append(asked)
        asked = []
    return found


def forgets(sampler: Sampler, process: Process) -> bool:
    """Whether each step of a deterministic sampler depends on its first state alone.

    Found out by walking a short grid, and each of its steps on its own.
    """

    def denoiser(x: Any, t: Tensor) -> Dirac:
        return Dirac(torch.sin(3 * x + t))

    def walk(x: Any, grid: Tensor) -> list[Frame]:
        path = sampler.trajectory(process, denoiser, x, grid, torch.Generator())
        return list(_steps(path))

    grid = torch.tensor([0.9, 0.7, 0.4, 0.2], dtype=torch.float64)
    frames = walk(torch.full((1, 1), 0.3, dtype=torch.float64), grid)
    alone = [walk(f.before, grid[i : i + 2])[0] for i, f in enumerate(frames)]
    return all(
        bool((f.after - a.after).abs().max() <= 1e-12 * f.after.abs().max())
        for f, a in zip(frames, alone, strict=True)
    )


def _steps(path: Generator[Frame, Any, None]) -> Iterator[Frame]:
    frame = next(path, None)
    while frame is not None:
        yield frame
        try:
            frame = path.send(frame.after)
        except StopIteration:
            return


class _Asked(Exception):
    """The sampler wants a posterior at this state that has not been handed over."""

    def __init__(self, x: Any) -> None:
        self.x = x


class Walk:
    """One trajectory, walked by handing over a posterior for each call of the network.

    Args:
        sampler: how to step.
        process: the process.
        grid: (N + 1,) the times that are left to walk.
        generator: source of all draws.
        several: whether it calls the network several times a step.
        forgetful: whether a step depends on its first state alone (see `forgets`).
    """

    def __init__(
        self,
        sampler: Sampler,
        process: Process,
        grid: Tensor,
        generator: Source,
        *,
        several: bool,
        forgetful: bool,
    ) -> None:
        self._sampler, self._process, self._grid = sampler, process, grid
        self._generator, self._several, self._forgetful = generator, several, forgetful
        self._states: list[Any] = []  # at the start of each step, as they were given
        self._said: list[Any] = []  # posteriors, in the order of the calls
        self._path: Generator[Frame, Any, None] | None = None
        self._done = 0

    def step(self, x: Any, posterior: Any) -> Any:
        """The state of the next call, from the state of this one and what the network said of it.

        Whatever the caller did to the state after the step before (inpainting) is taken over.
        """
        return self._replay(x, posterior) if self._several else self._resume(x, posterior)

    def _resume(self, x: Any, posterior: Any) -> Any:
        self._said = [posterior]
        if self._path is None:
            self._path = self._begin(x, self._grid, lambda x, t: self._said[0])
            return next(self._path).after
        return self._path.send(x).after

    def _replay(self, x: Any, posterior: Any) -> Any:
        if len(self._states) == self._done:  # a step begins here
            self._states.append(x)
        self._said.append(posterior)
        waiting = iter(self._said)

        def denoiser(x: Any, t: Any) -> Any:
            for posterior in waiting:
                return posterior
            raise _Asked(x)

        grid = self._grid[self._done : self._done + 2] if self._forgetful else self._grid
        states = iter(self._states[self._done :] if self._forgetful else self._states)
        path = self._begin(next(states), grid, denoiser)
        try:
            frame = next(path)
            for state in states:
                frame = path.send(state)
        except _Asked as asked:
            return asked.x
        self._done += 1
        if self._forgetful:
            self._said = []
        return frame.after

    def _begin(self, x: Any, grid: Tensor, denoiser: Any) -> Generator[Frame, Any, None]:
        return self._sampler.trajectory(self._process, denoiser, x, grid, self._generator)
