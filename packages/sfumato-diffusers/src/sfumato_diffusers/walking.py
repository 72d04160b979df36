"""A sampler walked from outside: whoever calls hands over what the network said, step by step.

A trajectory is a coroutine that calls a denoiser. Here the denoiser is a hand-over: it returns the
posteriors that were put down for it. A sampler with one call a step is simply resumed. One with
several calls a step asks in the middle of a step for a posterior that is not there yet; it is then
run again from the start with those put down so far, which costs no network call.
"""

from __future__ import annotations

__all__ = ["Walk", "calls"]

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from sfumato import Dirac, Frame, Multistep, Process, Sampler, Unsupported
from sfumato.random import Source


def calls(sampler: Sampler, process: Process, grid: Tensor) -> list[list[Tensor]]:
    """The times at which a sampler calls the denoiser, for each step of a grid.

    Raises:
        Unsupported: if the process lacks what the sampler needs, or it draws in a step that has
            several calls.
    """
    missing = sampler.needs & ~process.can
    if missing:
        raise Unsupported(
            f"{type(sampler).__name__} needs {missing.names()}; {process} can {process.can.names()}"
        )
    if isinstance(sampler, Multistep):
        return [[t] for t in grid[:-1]]
    asked: list[Tensor] = []
    zero = Dirac(torch.zeros(1, 1, dtype=torch.float64))

    def denoiser(x: Any, t: Tensor) -> Dirac:
        asked.append(t)
        return zero

    found = []
    path = sampler.trajectory(process, denoiser, zero.mean, grid, torch.Generator())
    for _ in _steps(path):
        found.append(asked)
        asked = []
    if not sampler.deterministic and any(len(times) > 1 for times in found):
        raise Unsupported(
            f"{type(sampler).__name__} draws noise and calls the network several times a step, "
            "which a scheduler of diffusers cannot do; sample with sfumato.sample, or use a "
            "sampler with one call a step"
        )
    return found


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
        several: whether it calls the network several times a step.
        generator: source of all draws.
    """

    def __init__(
        self, sampler: Sampler, process: Process, grid: Tensor, several: bool, generator: Source
    ) -> None:
        self._sampler, self._process, self._grid = sampler, process, grid
        self._several, self._generator = several, generator
        self._states: list[Any] = []  # at the start of each step, as they were given
        self._said: list[Any] = []  # posteriors, in the order of the calls
        self._path: Generator[Frame, Any, None] | None = None

    def step(self, x: Any, posterior: Any) -> Any:
        """The state of the next call, from the state of this one and what the network said of it.

        Whatever the caller did to the state after the step before (inpainting) is taken over.
        """
        return self._replay(x, posterior) if self._several else self._resume(x, posterior)

    def _resume(self, x: Any, posterior: Any) -> Any:
        self._said = [posterior]
        if self._path is None:
            self._path = self._begin(x, lambda x, t: self._said[0])
            return next(self._path).after
        return self._path.send(x).after

    def _replay(self, x: Any, posterior: Any) -> Any:
        if self._path is None:  # a step begins here
            self._states.append(x)
        self._said.append(posterior)
        waiting = iter(self._said)

        def denoiser(x: Any, t: Any) -> Any:
            for posterior in waiting:
                return posterior
            raise _Asked(x)

        self._path = path = self._begin(self._states[0], denoiser)
        try:
            frame = next(path)
            for state in self._states[1:]:
                frame = path.send(state)
        except _Asked as asked:
            return asked.x
        self._path = None
        return frame.after

    def _begin(self, x: Any, denoiser: Any) -> Generator[Frame, Any, None]:
        return self._sampler.trajectory(self._process, denoiser, x, self._grid, self._generator)
