"""Models of texts of different lengths, one that inserts and one that pads, trained alike."""

from __future__ import annotations

__all__ = [
    "Counted", "Sizes", "dropped", "filled", "full", "grown", "inserting", "learned", "padding",
]  # fmt: skip

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato import Padded, Process, Trial, random, sample
from sfumato.sampling import Denoise
from sfumato_methods.discrete import Discrete, FirstHitting, Prompt, TokenDenoiser, absorbing
from sfumato_methods.discrete.insertion import EventDriven, Insertion, InsertionDenoiser
from sfumato_nn.growing import GrowingTransformer
from sfumato_nn.tokens import TokenTransformer
from sfumato_train import Training
from sfumato_train.runs import fresh

from ..growing import Grown
from ..objective import AnyOrder
from .fitting import fitted, training_of


class Sizes(NamedTuple):
    """Of a network and its training, the same for both kinds."""

    width: int
    depth: int
    heads: int
    steps: int
    batch: int
    lr: float

    def net(self) -> dict[str, Any]:
        """Options of the network, which is told the clock."""
        return {"width": self.width, "depth": self.depth, "heads": self.heads, "time": True}

    def fit(self) -> dict[str, Any]:
        """Options of `fitted`."""
        return {"steps": self.steps, "batch": self.batch, "lr": self.lr}


def inserting(x: Padded, vocabulary: int, sizes: Sizes, seed: int, **condition: Tensor) -> Training:
    """How a model that inserts is trained on texts; its denoiser is an `InsertionDenoiser`.

    Args:
        x: texts (N, M).
        vocabulary: number of ids.
        sizes: of the network.
        seed: of its weights.
        condition: `kept`, see `Grown`.
    """
    net = fresh(seed, lambda: GrowingTransformer(vocabulary + 1, **sizes.net()))
    objective = Grown(InsertionDenoiser(net, Insertion(vocabulary)))
    return training_of(objective, x, condition)


def padding(ids: Tensor, vocabulary: int, sizes: Sizes, seed: int, **condition: Padded) -> Training:
    """How a masked model of whole canvases (N, L) is trained; its denoiser is a `TokenDenoiser`.

    Args:
        ids: texts with padding, an id of its own.
        vocabulary: number of ids, with that one.
        sizes: of the network.
        seed: of its weights.
        condition: `canvas`, see `AnyOrder`.
    """
    net = fresh(seed, lambda: TokenTransformer(vocabulary + 1, **sizes.net()))
    objective = AnyOrder(TokenDenoiser(net, Discrete(absorbing(vocabulary))))
    return training_of(objective, full(ids), condition)


def learned(training: Training, sizes: Sizes, given: Trial, name: str) -> tuple[Any, float]:
    """The denoiser, trained; and the processor time that it took."""
    began = time.process_time()
    denoiser = fitted(training, given, name=name, **sizes.fit())
    return denoiser, time.process_time() - began


def grown(process: Process, denoiser: Denoise, like: Padded, seed: int) -> Padded:
    """Texts with the layout of `like`, event by event."""
    grid = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found: Padded = sample(
        process, denoiser, like, sampler=EventDriven(), grid=grid,
        generator=random.derive(seed, "sampling"),
    )  # fmt: skip
    return found


def filled(process: Discrete, denoiser: Denoise, ids: Tensor, seed: int) -> Tensor:
    """Canvases (n, L) whose masks are filled, a token a call, the rest held as it is."""
    known = Prompt(ids, ids != process.kernel.mask)
    grid = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found: Tensor = sample(
        process, denoiser, ids, sampler=FirstHitting(), grid=grid,
        generator=random.derive(seed, "sampling"), constraint=known, start=known.start(process),
    )  # fmt: skip
    return found


def full(ids: Tensor) -> Padded:
    """Canvases without anything left out."""
    return Padded(ids, torch.ones_like(ids, dtype=torch.bool))


def dropped(ids: Tensor, pad: int) -> Padded:
    """Texts (n, L) without padding, wherever it stands."""
    order = (ids == pad).long().argsort(dim=1, stable=True)
    found = ids.gather(1, order)
    return Padded(found.masked_fill(found == pad, 0), found != pad)


class Counted:
    """A denoiser that counts the tokens it works on, each text by itself.

    Samplers of batches ask for all texts at once: those of which neither state nor time is new
    would not have been asked for alone, and do not count.
    """

    def __init__(self, denoiser: Denoise, extra: int = 0) -> None:
        self.denoiser, self.extra, self.tokens = denoiser, extra, 0
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Any, t: Tensor) -> Any:
        ids, real = (x.data, x.mask) if isinstance(x, Padded) else (x, torch.ones_like(x) > 0)
        shown, now = ids.masked_fill(~real, -1), t.expand(len(ids)).clone()
        asked = torch.ones(len(ids), dtype=torch.bool)
        if self._last is not None:
            asked = (shown != self._last[0]).any(1) | (now != self._last[1])
        self.tokens += int((real.sum(1) + self.extra)[asked].sum())
        self._last = shown, now
        return self.denoiser(x, t)
