"""The process contract: how clean data is noised, and how one step back is distributed."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from .errors import InputError, Unsupported
from .laws import Implicit, Law, Posterior
from .random import Source
from .state import Time

__all__ = [
    "CLOCK_LIMIT", "Can", "Noised", "Process", "by_step", "check_time", "odds_clock", "rows",
]  # fmt: skip

CLOCK_LIMIT = 10.0
"""Clocks are clamped to [-10, 10]: finite at both ends, so that networks see bounded numbers."""


class Can(enum.Flag):
    """What a process announces that it can do; each capability is tested by the kit."""

    STEP = enum.auto()
    """`transition`: the law of x_s given x_t and a posterior; enough for ancestral sampling."""
    BRIDGE = enum.auto()
    """`bridge`: the law of x_s given x_0 and x_t."""
    VELOCITY = enum.auto()
    """`velocity`: dx/dt of the probability flow, from a posterior."""
    SCORE = enum.auto()
    """`score`: the gradient of log p_t(x), from a posterior."""
    AFFINE = enum.auto()
    """`alpha`, `sigma`, `logsnr`, `time`: x_t = alpha(t) x_0 + sigma(t) eps."""
    GAUSSIAN = enum.auto()
    """... with eps standard normal."""
    LIKELIHOOD = enum.auto()
    """`kl` is known between its laws, so that `elbo` applies."""

    def names(self) -> str:
        """The capabilities as text: `STEP, BRIDGE`."""
        return ", ".join(c.name or "" for c in type(self) if c in self)


class Noised(NamedTuple):
    """A noisy state and what the denoiser has to learn from it."""

    x: Any
    target: Any


class Process(nn.Module):
    """A set of laws, from data at t = 0 to the prior at t = 1.

    Subclasses set `can` and implement what they announce. Tables are buffers, so that they move
    with `.to()`; parameters make a process learnable. Times are float64 tensors aligned with the
    leading dimensions of the state (see `sfumato.state.expand`).
    """

    can: Can
    accepts: ClassVar[tuple[type[Law], ...]] = (Posterior,)
    """Kinds of posterior that `transition` understands."""
    context: ClassVar[tuple[str, ...]] = ()
    """What `given` pins before any law is known: the `source` of a bridge. Named as conditions."""

    def prior(self, like: Any) -> Law:
        """Law of x_1; `like` carries shape, dtype, device, mask and ragged layout."""
        raise self._lacks("a prior")

    def marginal(self, x0: Any, t: Time) -> Law:
        """Law q(x_t | x_0)."""
        raise self._lacks("a marginal law")

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        """Law q(x_s | x_0, x_t) for s <= t; `row` is the entry of `plan` for this step."""
        raise self._lacks("BRIDGE")

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        """Law of x_s given x_t: the bridge integrated over the posterior `q`, variance included.

        The default draws x_0 from `q`, so that its density is not known; subclasses with a closed
        form override it.
        """
        return Implicit(
            lambda generator: self.bridge(q.sample(generator), x, t, s, row).sample(generator)
        )

    def draw(self, x0: Any, t: Time, generator: Source) -> Noised:
        """A noisy state for training; the target is x_0 unless the corruption hides another."""
        return Noised(self.marginal(x0, t).sample(generator), x0)

    def plan(self, grid: Time) -> Sequence[Any]:
        """What `bridge` and `transition` need for each step of a grid, computed once."""
        steps = len(next(iter(grid.values())) if isinstance(grid, Mapping) else grid) - 1
        return [None] * steps

    def clock(self, t: Time) -> Any:
        """Time as a network sees it: finite at both ends, and the same for all schedules."""
        if isinstance(t, Mapping):
            raise InputError(f"{self} has one clock, but was given a mapping of times")
        return odds_clock(t.double())

    def plan_velocity(self, grid: Time) -> Sequence[Any]:
        """What `velocity` needs at each time of a grid, computed once."""
        return [None] * len(next(iter(grid.values())) if isinstance(grid, Mapping) else grid)

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Any:
        """dx/dt of the probability flow at (x, t); `row` is the entry of `plan_velocity`."""
        raise self._lacks("VELOCITY")

    def score(self, q: Any, x: Any, t: Time) -> Any:
        """Gradient of log p_t(x)."""
        raise self._lacks("SCORE")

    def project(self, x: Any) -> Any:
        """The data inside a state at t = 0, helper variables dropped."""
        return x

    def given(self, **context: Any) -> Self:
        """This process with its `context` pinned (`source=x1` of a bridge); it is not changed."""
        if context:
            raise InputError(f"{self} takes no context; given were {', '.join(context)}")
        return self

    def check(self, q: Any) -> None:
        """Raise `Unsupported` if a posterior is of a kind that this process cannot use."""
        if not isinstance(q, self.accepts):
            kinds = ", ".join(kind.__name__ for kind in self.accepts)
            raise Unsupported(
                f"{self} needs a posterior of kind {kinds}, but the denoiser returned "
                f"{type(q).__name__}"
            )

    def _lacks(self, what: str) -> Unsupported:
        return Unsupported(f"{self} has no {what}; it can {self.can.names()}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def odds_clock(t: Tensor) -> Tensor:
    """log(t / (1 - t)), clamped."""
    return torch.logit(t).clamp(-CLOCK_LIMIT, CLOCK_LIMIT)


def check_time(t: Time) -> None:
    """Raise `InputError` if a time is not a float or lies outside [0, 1]."""
    for u in t.values() if isinstance(t, Mapping) else (t,):
        if not (u.is_floating_point() and bool(((u >= 0) & (u <= 1)).all())):
            raise InputError(
                f"times must be floats in [0, 1] (0 = data, 1 = prior), but reach from "
                f"{u.min().item():g} to {u.max().item():g} as {u.dtype}"
            )


def rows(grid: Tensor, *columns: Tensor) -> list[tuple[Any, ...]]:
    """Columns of coefficients as one row per step: floats for a shared grid without gradients.

    Plans are computed once in float64; a Python float then multiplies a state of any dtype at the
    least cost.
    """
    if grid.ndim > 1 or any(c.requires_grad for c in columns):
        return list(zip(*columns, strict=True))
    return list(zip(*(c.tolist() for c in columns), strict=True))


def by_step(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One mapping per step from one sequence of steps per field."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
