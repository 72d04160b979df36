"""What all targets have in common."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from sfumato import InputError, Process
from sfumato.sampling import Denoise
from sfumato.state import items, select

__all__ = ["Target", "copies"]


class Target(Protocol):
    """A data law whose denoiser is known."""

    def sample(self, n: int, generator: Generator) -> Any:
        """Draw n items, all of one layout."""

    def nll(self, x0: Any) -> Tensor:
        """(B,) exact -log p(x0), nats per item."""

    def denoiser(self, process: Process) -> Denoise:
        """Its exact denoiser under a process."""


def copies(like: Any, n: int) -> Any:
    """Make n items with the layout of the only item of `like`."""
    if items(like) != 1:
        raise InputError(f"`like` shows the layout of one item, but has {items(like)}")
    return select(like, torch.zeros(n, dtype=torch.long))
