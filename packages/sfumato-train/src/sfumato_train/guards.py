"""What surrounds the training loop: its own randomness, Ctrl-C, evaluation mode, news."""

from __future__ import annotations

__all__ = ["Tell", "Watch", "evaluating", "interruptible", "own_rng", "reseed", "throttled"]

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Protocol

import torch
from torch import nn

PAUSE = 0.1  # seconds between calls of a watch


class Watch(Protocol):
    """Is told how a job proceeds, at most ten times a second, and at its end."""

    def __call__(
        self, step: int, total: int, loss: float | None, items_per_s: float | None
    ) -> None:
        """Take the news.

        Args:
            step: training steps (or samples) done, those before a resume included.
            total: how many there will be.
            loss: the last loss that was read; None before the first, and while sampling.
            items_per_s: items trained on (or drawn) a second; None before it is known.
        """


class Tell(Protocol):
    """What a job says to its watch."""

    def __call__(
        self, step: int, loss: float | None, items_per_s: float | None, *, over: bool
    ) -> None:
        """Pass the news on, if it is time to, or if the job is over."""


def throttled(watch: Watch | None, total: int) -> Tell:
    """A call that passes news on at most every `PAUSE` seconds, and always when a job is over."""
    last = float("-inf")

    def tell(step: int, loss: float | None, items_per_s: float | None, *, over: bool) -> None:
        nonlocal last
        if watch is None or (not over and time.monotonic() - last < PAUSE):
            return
        last = time.monotonic()
        watch(step, total, loss, items_per_s)

    return tell


def own_rng(device: torch.device) -> AbstractContextManager[None]:
    """Within the block torch's global generators are the block's own; they are put back after.

    Networks with dropout draw from them.
    """
    devices = [device] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=devices)


def reseed(seed: int, device: torch.device) -> None:
    """Seed the global generators, within `own_rng`."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed is 20 times slower
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within the block the first request to end is remembered, so that a step can be saved.

    Requests are Ctrl-C and SIGTERM, which torchrun and cluster schedulers send. A second one has
    its usual effect. A signal that the process ignores (nohup) stays ignored. Yields a function
    that says whether there was a request.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals go to the main thread
        return
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}

    def give_back() -> None:
        for number, old in heard.items():
            signal.signal(number, old)

    def remember(number: int, frame: FrameType | None) -> None:
        asked.set()
        give_back()

    for number in heard:
        signal.signal(number, remember)
    try:
        yield asked.is_set
    finally:
        give_back()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within the block the module is in evaluation mode; each submodule gets its own mode back."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode
