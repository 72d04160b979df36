"""What is known of samples beforehand and shown to the model as it is: prompts, gaps, clues."""

from __future__ import annotations

__all__ = ["Canvas", "Shown"]

from typing import Any, Protocol, runtime_checkable

from sfumato import Implicit, Known, Law, Process
from sfumato.random import Source
from sfumato.sampling import Frame
from sfumato.state import where


class Shown(Known):
    """Known entries as they are, at all times, from the first call of the network on.

    For masking processes that is exact: a model that fills in any masked entries given any others
    draws from the conditional law. `Known`, which noises what is known anew at each step, hides a
    part of it from the early calls.
    """

    def __call__(self, process: Process, frame: Frame, generator: Source) -> Any:
        return where(self.mask, self.values, frame.after)

    def start(self, law: Law) -> Law:
        """The law of the first state, with what is known in its place."""
        return Implicit(lambda generator: where(self.mask, self.values, law.sample(generator)))


@runtime_checkable
class Canvas(Protocol):
    """A `Model.blank` whose states may be filled in part."""

    def known(self, x: Any) -> Shown | None:
        """What of the states `x` is filled already; None: nothing."""
