"""Posteriors and denoisers that fit any process, and the operations that a process offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Can, Categorical, Dirac, Implicit, Joint, Law, Posterior, Process
from sfumato.random import Source
from sfumato.sampling import Denoise
from sfumato.state import Time, apply

from .states import tensors

__all__ = ["blurry", "certain", "classes_of", "shared", "operations", "stubborn", "uniform"]

Operation = Callable[[Source], Any]


def certain(process: Process, x0: Any) -> Posterior:
    """The posterior of one who knows `x0`, of the kind that the process deals in."""
    return _certain(process.prior(x0), x0)


def _certain(prior: Law, x0: Any) -> Posterior:
    if isinstance(prior, Joint):
        return Joint({k: _certain(law, x0[k]) for k, law in prior.parts.items()})
    classes = classes_of(prior)
    if classes:
        return Categorical(probs=apply(x0, lambda i: F.one_hot(i, classes).double()))
    if all(v.is_floating_point() for v in tensors(x0)):
        return Dirac(x0)
    return Implicit(lambda generator: x0)


def classes_of(prior: Law) -> int:
    """How many classes data have; 0 where a law is not about classes."""
    if isinstance(prior, Categorical):
        return tensors(prior.probs)[0].shape[-1]
    return getattr(prior, "classes", 0)  # of points of a simplex


def stubborn(process: Process, x0: Any) -> Denoise:
    """A denoiser that answers `x0` whatever it sees."""
    posterior = certain(process, x0)
    return lambda x, t: posterior


def blurry(process: Process) -> Denoise:
    """A wrong denoiser that depends on its input and treats every element on its own."""
    return lambda x, t: _blur(certain(process, process.project(x)))


def _blur(q: Posterior) -> Posterior:
    match q:
        case Joint():
            return Joint({k: _blur(part) for k, part in q.parts.items()})
        case Categorical():
            return Categorical(probs=apply(q.probs, lambda p: 0.5 * p + 0.5 / p.shape[-1]))
        case Dirac():
            return Dirac(q.mean * 0.5)
        case _:
            return q


def operations(process: Process, x0: Any, x: Any, t: Time, s: Time) -> dict[str, Operation]:
    """All that the process announces, at these states and times, as functions of a generator."""
    q = certain(process, x0)
    found: dict[str, Operation] = {
        "prior": lambda g: process.prior(x0).sample(g),
        "marginal": lambda g: process.marginal(x0, t).sample(g),
        "draw": lambda g: process.draw(x0, t, g).x,
    }
    if Can.BRIDGE in process.can:
        found["bridge"] = lambda g: process.bridge(x0, x, t, s).sample(g)
    if Can.STEP in process.can:
        found["transition"] = lambda g: process.transition(q, x, t, s).sample(g)
    if Can.VELOCITY in process.can:
        found["velocity"] = lambda g: process.velocity(q, x, t)
    if Can.SCORE in process.can:
        found["score"] = lambda g: process.score(q, x, t)
    return found


def shared(value: float) -> Tensor:
    """A shared time."""
    return torch.tensor(value, dtype=torch.float64)


def uniform(steps: int) -> Tensor:
    """A shared grid of equal steps from 1 to 0."""
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)
