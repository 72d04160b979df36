"""Where a process stands among those that torchrun started.

RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT may as well be set by a scheduler or by
hand. The store lives in the process that started the workers (torchrun, or ours), or else in
worker 0.
"""

from __future__ import annotations

__all__ = ["Place", "place"]

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sfumato import InputError

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """A process among the workers of a queue.

    Attributes:
        rank: its number; worker 0 begins the job and finishes it.
        local: its number on its machine, and of its GPU.
        host: where the store is.
        port: where the store is.
        keeps: whether the store lives in this process.
    """

    rank: int
    local: int
    host: str
    port: int
    keeps: bool


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Where torchrun (or who sets the same variables) has put this process; None: it is alone.

    Raises:
        InputError: if variables are missing or no numbers.
    """
    there = [name for name in _NEEDED if name in environment]
    if environment.get("WORLD_SIZE", "1") == "1" and ("RANK" not in there or len(there) == 5):
        return None
    if missing := [name for name in _NEEDED if name not in environment]:
        raise InputError(
            f"{', '.join(there)} is set, but {', '.join(missing)} is not; workers need all of "
            f"{', '.join(_NEEDED)}, which torchrun sets"
        )
    number = {name: environment[name] for name in _NEEDED if name != "MASTER_ADDR"}
    if wrong := [f"{name}={value}" for name, value in number.items() if not value.isdecimal()]:
        raise InputError(f"{', '.join(wrong)} is no number; torchrun sets it")
    rank = int(number["RANK"])
    hosted = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address, port = environment["MASTER_ADDR"], int(number["MASTER_PORT"])
    return Place(rank, int(number["LOCAL_RANK"]), address, port, rank == 0 and not hosted)
