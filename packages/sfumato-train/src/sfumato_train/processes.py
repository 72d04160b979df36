"""The processes that train one run together: who this one is, and what they agree on."""

from __future__ import annotations

__all__ = ["ALONE", "World", "joined"]

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from sfumato import InputError

from .places import place


@dataclass(frozen=True)
class World:
    """The processes of a training; one alone needs no process group.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        local: number of this process on its machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            with _together():
                dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        told = torch.tensor([flag], dtype=torch.int32)
        with _together():
            dist.all_reduce(told)
        return bool(told.item())

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if self.size > 1:
            with _together():
                dist.all_reduce(values)
        return values


ALONE = World()


@contextmanager
def _together() -> Iterator[None]:
    """Says in a sentence that another process is gone, which is all that can be known here."""
    try:
        yield
    except RuntimeError:
        raise InputError(
            "another process of this training has ended; its own message says why"
        ) from None


def joined() -> World:
    """The processes that torchrun started; `ALONE` outside torchrun.

    The process group is made once and lasts as long as the process.

    Raises:
        InputError: if the environment lacks what joins them, or there are more processes than GPUs.
    """
    here = place()
    if here is None:
        return ALONE
    gpus = torch.cuda.is_available()
    if gpus:
        if here.local >= torch.cuda.device_count():
            raise InputError(
                f"process {here.local} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}; start as many processes as GPUs"
            )
        torch.cuda.set_device(here.local)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
        atexit.register(dist.destroy_process_group)
    return World(dist.get_rank(), dist.get_world_size(), here.local)
