"""Sampling step by step: what a live view and a trace are made of."""

from __future__ import annotations

__all__ = ["Step", "stream", "traced"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import sfumato
from sfumato import InputError, Model, Padded, Process, Streams, state
from sfumato_methods.discrete import Prompt
from sfumato_train.clamps import Canvas
from sfumato_train.drawing import asked_of, blank, component


class Step(NamedTuple):
    """A step of n texts on their way.

    Attributes:
        t: time before the step, 1 at first; None where each text has a time of its own.
        s: time behind it.
        x: ids behind it, the mask among them.
        changed: (n, L) bool, which tokens are no longer what they were.
    """

    t: float | None
    s: float | None
    x: Padded
    changed: Tensor


def stream(
    model: Model,
    n: int,
    *,
    condition: Mapping[str, Any] | None = None,
    sampler: str | sfumato.Sampler | None = None,
    grid: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    first: int = 0,
) -> Iterator[Step]:
    """The steps of `sfumato_train.draw`, whose samples are those of the last one.

    Args:
        model: of texts.
        n: number of texts.
        condition: see `draw`, like all that follow.
        sampler: see `draw`.
        grid: see `draw`.
        steps: see `draw`.
        seed: see `draw`.
        first: see `draw`.
    """
    asked = dict(condition or {})
    numbers = list(range(first, first + n))
    like = blank(model, seed, numbers, asked)
    if not isinstance(model.blank, Canvas):
        raise InputError("only models of text are sampled in steps that can be shown")
    held = model.blank.known(like)
    streams = Streams.derive(seed, "sample", numbers)
    law = held.start(model.process) if isinstance(held, Prompt) else model.process.prior(like)
    x = law.sample(streams)
    walk = component("sampler", sampler) or model.sampler
    made = component("grid", grid) or model.grid
    frames = sfumato.run(
        walk,
        model.process,
        asked_of(model, asked, None),
        x,
        made(model.process, steps or model.steps),
        streams,
        held,
    )
    begun = _ids(model.process, x)
    yield Step(None, 1.0, begun, torch.zeros_like(begun.mask))
    for frame in frames:
        before, after = (_ids(model.process, x) for x in (frame.before, frame.after))
        changed = (before.data != after.data) & after.mask
        yield Step(_number(frame.t), _number(frame.s), after, changed)


def _ids(process: Process, x: Any) -> Padded:
    found: Padded = state.to(process.project(x), "cpu")
    return found


def _number(t: Any) -> float | None:
    return float(t) if isinstance(t, Tensor) and t.ndim == 0 else None


def traced(steps: Sequence[Step], item: int) -> list[dict[str, Any]]:
    """The way of one text as JSON: what changed, step by step, steps without a change left out."""
    rows = []
    for number, step in enumerate(steps):
        places = torch.nonzero(step.changed[item])[:, 0]
        if len(places):
            ids = step.x.data[item, places].tolist()
            rows.append({"step": number, "time": step.s, "places": places.tolist(), "ids": ids})
    return rows
