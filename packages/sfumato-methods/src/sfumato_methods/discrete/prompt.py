"""What is known of a text from the start: prompts, suffixes, gaps to fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sfumato import Dirac, InputError, Process
from sfumato.random import Source
from sfumato.sampling import Frame
from sfumato.state import apply, where

from .process import Discrete

__all__ = ["Prompt"]


@dataclass(frozen=True)
class Prompt:
    """Known tokens that are seen from the first call to the last.

    A network for masked tokens may be shown any of them. `Known` hides known tokens as the chain
    would, and shows them bit by bit; this constraint never hides them. Give it twice:

        sample(..., constraint=prompt, start=prompt.start(process))

    Args:
        values: ids of the layout of the samples; entries outside the mask are ignored.
        mask: bool state of the same kind: True where known.
    """

    values: Any
    mask: Any

    def start(self, process: Process) -> Dirac:
        """Law of the state at t = 1: the known tokens, and masks.

        Raises:
            InputError: if the process has no mask, or a known token is the mask.
        """
        hidden = process.kernel.absorbs if isinstance(process, Discrete) else None
        if hidden is None:
            raise InputError(f"a prompt is shown to a chain that only masks; {process} does not")

        def shown(ids: Tensor, known: Tensor) -> Tensor:
            if bool((known & (ids == hidden)).any()):
                raise InputError(f"a known token is the mask itself, id {hidden}")
            return ids.where(known, hidden)

        return Dirac(apply(self.values, shown, self.mask))

    def __call__(self, process: Process, frame: Frame, generator: Source) -> Any:
        return where(self.mask, self.values, frame.after)
