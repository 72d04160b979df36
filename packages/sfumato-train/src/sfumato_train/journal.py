"""What happened in each step, kept on the device and read every so many steps."""

from __future__ import annotations

__all__ = ["Diverged", "Journal", "Turn"]

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError

from .files import append
from .processes import ALONE, World


class Diverged(InputError, ArithmeticError):
    """A loss or a gradient is no longer finite; the message names step and cause."""


@dataclass(frozen=True)
class Turn:
    """One update of one player, its numbers still on the device.

    Attributes:
        step: which step, from 0.
        player: who was updated.
        loss: () mean loss; in one of several processes, its share of the mean.
        norm: () norm of the gradient before clipping; of all processes together.
        parts: () means of the parts of the loss, or shares of them.
    """

    step: int
    player: str
    loss: Tensor
    norm: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class Journal:
    """Gathers turns and writes their means as one row of a file of JSON lines.

    Args:
        path: the file; rows are appended.
        lead: the player whose loss is *the* loss; numbers of others are parts, `name.loss`.
        batch: items in a step.
        world: the processes whose shares are added up; the first one writes.
    """

    def __init__(self, path: Path, lead: str, batch: int, world: World = ALONE) -> None:
        self.world = world
        self.path = path
        self.lead = lead
        self.batch = batch
        self.loss: float | None = None
        self.items_per_s: float | None = None
        self._turns: list[Turn] = []
        self._steps = 0
        self._since = time.monotonic()

    def note(self, turn: Turn) -> None:
        """Take down one turn; nothing is read from the device."""
        self._turns.append(turn)

    def step_done(self) -> None:
        """All turns of a step have been noted."""
        self._steps += 1

    def read(self) -> dict[str, Any]:
        """Means since the last call: loss, grad_norm, parts, items_per_s; empty without steps.

        Raises:
            Diverged: if a loss or a gradient was not finite.
        """
        if not self._turns:
            return {}
        sums: dict[str, list[float]] = {}
        for turn, numbers in zip(self._turns, self._numbers(), strict=True):
            _check(turn, *numbers[:2])
            lead = turn.player == self.lead
            names = ["loss", "grad_norm", *turn.parts]
            for name, value in zip(names, numbers, strict=True):
                sums.setdefault(name if lead else f"{turn.player}.{name}", []).append(value)
        means = {name: sum(values) / len(values) for name, values in sums.items()}
        self.loss = means.pop("loss", None)
        self.items_per_s = self._steps * self.batch / max(time.monotonic() - self._since, 1e-9)
        row = {
            "loss": self.loss,
            "grad_norm": means.pop("grad_norm", None),
            "parts": {k: v if math.isfinite(v) else None for k, v in means.items()},
            "items_per_s": round(self.items_per_s, 3),
        }
        self._turns = []
        self.rest()
        return row

    def rest(self) -> None:
        """Start the clock anew: what went on until now was no training."""
        self._steps, self._since = 0, time.monotonic()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row, in the first process."""
        if self.world.first:
            append(self.path, row)

    def _numbers(self) -> list[list[float]]:
        """Loss, norm and parts of each turn, fetched from the device in one go."""
        shares = [[turn.loss, *turn.parts.values()] for turn in self._turns]
        flat = torch.stack([x.detach().float() for xs in shares for x in xs])
        norms = torch.stack([turn.norm.detach().float() for turn in self._turns])
        read = torch.cat([norms, self.world.total(flat)]).tolist()
        norm, rest = iter(read[: len(norms)]), iter(read[len(norms) :])
        return [[next(rest), next(norm), *(next(rest) for _ in xs[1:])] for xs in shares]


def _check(turn: Turn, loss: float, norm: float) -> None:
    for what, value in (("loss", loss), ("norm of the gradient", norm)):
        if not math.isfinite(value):
            raise Diverged(
                f"training stopped: the {what} of {turn.player!r} is {value} at step {turn.step}"
            )
