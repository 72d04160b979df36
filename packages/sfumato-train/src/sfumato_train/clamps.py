"""Models whose states may be filled in part before they are drawn: prompts, gaps, clues."""

from __future__ import annotations

__all__ = ["Canvas"]

from typing import Any, Protocol, runtime_checkable

from sfumato import Known
from sfumato_methods.discrete import Prompt


@runtime_checkable
class Canvas(Protocol):
    """A `Model.blank` whose states may be filled in part."""

    def known(self, x: Any) -> Prompt | Known | None:
        """What of the states `x` is filled already; None: nothing."""
